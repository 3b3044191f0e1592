"""How a claim reads: each function measures one kind of claim on a study's runs, and gives its line of the table.

An undecided claim says what is missing: seeds, or a narrower interval."""

import numpy as np

from koala.study import compare, curves, left_gray
from koala.study.intervals import LEAST_SEEDS, interval

EQUAL = 0.3  # CIEDE2000: two experiments are called equal where 0 and the whole interval lie within +-EQUAL
FAR = 0.5  # of what a network gains on the photograph left gray: another that loses more is far behind
FAR_WORDS = "half of what the other gains on gray"
HOLDS, NEARLY, FAILS, OPEN = "holds", "nearly holds", "does not hold", "undecided"


def row(claim: tuple[int, str], verdict: str, measured: str, *names: str) -> dict:
    """A claim, by its number and its words, with its verdict. names: the experiments that it is about."""
    number, words = claim
    return {"number": number, "words": words, "verdict": verdict, "measured": measured, "names": names}


def equal(study, claim, first, second) -> dict:
    """The claim is that two networks end about equal."""
    _, low, high = compare.difference(study, first, second)
    seeds = len(compare.common_seeds(study, first, second))
    if np.isnan(low):
        verdict = f"{OPEN}: no seed that both have"
    elif low > EQUAL or high < -EQUAL:
        verdict = FAILS + compare.one_seed(study, seeds)
    elif seeds < LEAST_SEEDS:
        verdict = _too_few(seeds)
    elif low > 0 or high < 0:
        word = "worse" if low > 0 else "better"
        small = -EQUAL < low and high < EQUAL
        verdict = (
            f"{NEARLY}: {word}, by less than {EQUAL}"
            if small
            else f"{OPEN}: {word}, perhaps by less than {EQUAL}"
        )
    else:
        verdict = HOLDS if -EQUAL < low and high < EQUAL else f"{OPEN}: the interval reaches beyond {EQUAL}"
    return row(claim, verdict, _measured(study, first, second), first, second)


def worse(study, claim, first, second) -> dict:
    """The claim is that the first is worse than the second."""
    _, low, high = compare.difference(study, first, second)
    remark = compare.one_seed(study, len(compare.common_seeds(study, first, second)))
    if np.isnan(low):
        verdict = f"{OPEN}: no seed that both have"
    else:
        verdict = (
            HOLDS if low > 0 else f"{FAILS}: it is better" if high < 0 else f"{OPEN}: no difference shown"
        )
    return row(claim, verdict + remark, _measured(study, first, second), first, second)


def far_behind(study, claim, first, second) -> dict:
    """The claim is that the first is far behind the second: by more than FAR of what that gains on the gray photograph."""
    if still := curves.stood_still(study, first):
        return row(claim, _nothing(study, first, still), _measured(study, first, second), first, second)
    _, low, _ = compare.difference(study, first, second)
    if not low > 0:  # nor where it is NaN
        return worse(study, claim, first, second)
    _, low, high = left_gray.behind(study, first, second, FAR)
    if low > 0:
        verdict = HOLDS
    elif high < 0:
        verdict = f"{FAILS}: behind, by less than {FAR_WORDS}"
    else:
        verdict = f"{OPEN}: behind, not shown to be by more than {FAR_WORDS}"
    remark = compare.one_seed(study, len(compare.common_seeds(study, first, second)))
    return row(claim, verdict + remark, _measured(study, first, second), first, second)


def estimate(form: str, mean: float, low: float, high: float) -> str:
    """A quantity with its interval; with one seed there may be none. An end that is rounded to 0 keeps its sign."""
    ends = form.replace("+z", "+")
    return format(mean, form) + (f" [{low:{ends}}, {high:{ends}}]" if low < high else "")


def _measured(study, first, second) -> str:
    by_ciede2000 = estimate("+z.2f", *compare.difference(study, first, second))
    return f"CIEDE2000 {by_ciede2000}; MSE {estimate('+z.1%', *compare.relative_mse(study, first, second))}"


def _by_seeds(low: float, high: float, seeds: int, chance=None) -> str:
    """Verdict of a claim that a quantity of the runs, which photographs do not enter, is below 0. chance: between seeds, of
    other networks, where the interval of a single seed has it."""
    if seeds < LEAST_SEEDS and chance is None:
        return _too_few(seeds)
    return (HOLDS if high < 0 else FAILS if low > 0 else OPEN) + " (one seed)" * (seeds == 1)


def _nothing(study, name, still: list[int]) -> str:
    return f"{OPEN}: {study.label(name)} learned nothing in {len(still)} of {len(study.seeds(name))} seeds, its loss stood still"


def _too_few(seeds: int) -> str:
    return f"{OPEN}: {seeds} seed{'s' * (seeds != 1)}, of at least {LEAST_SEEDS}"


def faster(study, claim, first, second) -> dict:
    """Faster by both goals of koala.study.curves, over seeds; undecided where both are there after the first epoch."""
    epochs, seeds = (
        curves.epochs_to_converge(study, first, second),
        len(compare.common_seeds(study, first, second)),
    )
    sooner = {goal: interval(pairs[:, :1] - pairs[:, 1:]) for goal, pairs in epochs.items()}
    verdicts = {_by_seeds(low, high, seeds) for _, low, high in sooner.values()}
    verdict = (
        verdicts.pop() if len(verdicts) == 1 else OPEN if verdicts else f"{OPEN}: no seed that both have"
    )
    if any((pairs == 1).all() for pairs in epochs.values()):
        verdict = f"{OPEN}: both are there after the first epoch"
    goals = {
        "common": f"within {curves.WITHIN:.0%} of the lowest loss that both reach",
        "own": f"within {curves.WITHIN:.0%} of its own lowest loss",
    }
    text = "; ".join(
        f"{estimate('+z.1f', *difference)} epochs to {goals[goal]}" for goal, difference in sooner.items()
    )
    return row(claim, verdict, text, first, second)


def gap(study, claim, first, second) -> dict:
    """The claim is that the first has the larger gap between its losses, each relative to its own training loss."""
    seeds = compare.common_seeds(study, first, second)
    if not seeds:
        return row(claim, f"{OPEN}: no seed that both have", "", first, second)
    if still := curves.stood_still(study, first):
        return row(claim, _nothing(study, first, still), "", first, second)
    one, other = (np.abs(curves.gaps(study, name, seeds)) for name in (first, second))
    mean, low, high = interval(one - other)
    text = f"{one.mean():.1%} of the training loss against {other.mean():.1%}: {estimate('+z.1%', mean, low, high)}"
    text += "; a cross-entropy holds the entropy of its targets, which no network lowers, so that its relative gap is small"
    return row(claim, _by_seeds(-high, -low, len(seeds)), text, first, second)


def below_training(study, name) -> dict:
    chance = curves.chance_of_gaps(study, study.config(name)["loss"])
    mean, low, high = interval(curves.gaps(study, name), chance)
    text = (
        f"validation loss over training loss, minus 1: {estimate('+z.1%', mean, low, high)}; the training loss is a mean over "
        "the epoch"
    )
    return row(
        (6, "validation loss is below training loss at the end"),
        _by_seeds(low, high, len(study.seeds(name)), chance),
        text,
        name,
    )


def longer_helps(study, long, short) -> dict:
    """The claim is that more epochs would help: the same network, trained for more and for fewer."""
    claim = (
        6,
        f"more epochs help: {study.config(long)['epochs']} in place of {study.config(short)['epochs']}",
    )
    _, low, high = compare.difference(study, long, short)
    verdict = HOLDS if high < 0 else FAILS if low > 0 else OPEN
    remark = compare.one_seed(study, len(compare.common_seeds(study, long, short)))
    return row(claim, verdict + remark, _measured(study, long, short), long, short)


def still_falling(study, name) -> list[dict]:
    mean, low, high = curves.slope(study, name)
    if np.isnan(mean):
        return []
    rate = curves.last_rate(study, name)
    text = (
        f"validation loss in the last epoch over the one before, minus 1: {estimate('+z.2%', mean, low, high)}, at {rate:.1%} "
        "of the first epoch's learning rate"
    )
    claim = (6, "validation loss is still falling, so more epochs would help")
    return [row(claim, _by_seeds(low, high, len(study.seeds(name))), text, name)]
