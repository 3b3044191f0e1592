"""The report's claims, each as a number of this study with its interval. What cannot be tested is said to be so."""

import numpy as np

from koala import analysis

ONE, TWO, THREE, FOUR, NONE = "1-inception", "2-convnext", "3-reduced", "4-crossentropy", "no-extractor"
# Extractors whose weights come in packages, so that the report's claims can be tested with them where no hub answers:
# name in the table, with all dimensions, with 256 of them, with the unbinned cross-entropy
LITE = ("EfficientNet-Lite0", "efficientnet", "efficientnet-256", "efficientnet-crossentropy")
OLD = ("Inception-v3 of 2015", "inception2015", "inception2015-256", "inception2015-crossentropy")
EQUAL = 0.3  # CIEDE2000: two experiments are called equal where the whole interval lies within +-EQUAL


def table(found: analysis.Study) -> list[dict]:
    """One dict a claim: claim, measured here, reads. Differences are in CIEDE2000, first minus second, 95 % interval.

    "untrained" in `reads`: the claim is about a trained extractor, which this study did not have."""
    rows = [
        _compare(found, "C1: Inception-v3 and ConvNeXt-T end about equal", ONE, TWO, equal=True),
        _compare(found, "C2: 256 of Inception's 1000 dimensions end slightly worse", THREE, ONE),
        _faster(found, "C2: 256 of 1000 dimensions converge faster", THREE, ONE),
        _compare(found, "C3: without extractor worse than with Inception-v3", NONE, ONE),
        _compare(found, "C4: unbinned cross-entropy far behind", FOUR, ONE),
        _faster(found, "C5: ConvNeXt-T converges faster than Inception-v3", TWO, ONE),
        *_with(found, *LITE),
        *_with(found, *OLD),
        *(_below_training(found, name) for name in (ONE, TWO, THREE, LITE[1], OLD[1])),
        *(_red(found, name) for name in (ONE, TWO, LITE[1], OLD[1])),
        *(_bluish(found, name) for name in (ONE, TWO, LITE[1], OLD[1])),
    ]
    last = {
        "claim": "C9, C10: grass too green; objects of many colours",
        "measured": "",
        "reads": "not tested: no labels of objects",
    }
    return [*(row for row in rows if row), last]


def _with(found, label, whole, reduced, crossentropy) -> list:
    """C2, C3 and C4 with another extractor."""
    return [
        _compare(found, f"C2 with {label}: 256 of its dimensions end slightly worse", reduced, whole),
        _faster(found, f"C2 with {label}: 256 of its dimensions converge faster", reduced, whole),
        _compare(found, f"C3 with {label}: without extractor worse", NONE, whole),
        _compare(found, f"C4 with {label}: unbinned cross-entropy far behind", crossentropy, whole),
    ]


def _row(found, claim, measured, verdict, *names) -> dict:
    untrained = [name for name in names if found.label(name) != name]
    if found.plan.data.get("source", "photos") == "photos":
        verdict = "not judged: the embedded photographs are a check of the chain, never evidence"
    elif untrained:
        verdict = f"not tested: {' and '.join(untrained)} untrained here (between these runs: {verdict})"
    return {"claim": claim, "measured": measured, "reads": verdict}


def _there(found, *names) -> bool:
    return all(name in found.experiments for name in names)


def _compare(found, claim, first, second, equal=False):
    """The claim is that `first` is worse than `second`, or with equal=True that neither is."""
    if not _there(found, first, second):
        return None
    mean, low, high = analysis.difference(found, first, second)
    if equal:
        verdict = (
            "holds"
            if -EQUAL < low and high < EQUAL
            else "does not hold"
            if low > 0 or high < 0
            else "undecided"
        )
    else:
        verdict = "holds" if low > 0 else "does not hold: it is better" if high < 0 else "not shown"
    return _row(found, claim, f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]", verdict, first, second)


def _faster(found, claim, first, second):
    if not _there(found, first, second):
        return None
    epochs = analysis.epochs_to_reach(found, first, second)
    verdict = (
        "holds" if epochs[0] < epochs[1] else "does not hold" if epochs[0] > epochs[1] else "no difference"
    )
    text = f"{epochs[0]:.1f} against {epochs[1]:.1f} epochs to the lowest validation loss that both reach"
    return _row(found, claim, text, verdict, first, second)


def _below_training(found, name):
    if not _there(found, name):
        return None
    last = [found.runs[name, seed].history.iloc[-1] for seed in found.seeds(name)]
    gap = np.mean([row.val_loss / row.train_loss - 1 for row in last])
    claim = f"C6: validation loss still below training loss at the end ({name})"
    return _row(
        found, claim, f"validation is {gap:+.1%} of training", "holds" if gap < 0 else "does not hold", name
    )


def _red(found, name):
    """Red is an error for the gray picture, too: what counts is how much of a hue's error the network takes away."""
    if not _there(found, name):
        return None
    model, gray = analysis.by_hue(found, name), analysis.by_hue(found, name, "gray")
    kept = {hue: model[hue] / gray[hue] for hue in model if not np.isnan(model[hue])}
    worst = max(kept, key=kept.get)
    text = f"of the gray picture's error at red {kept['red']:.0%} remain; most remains at {worst}, {kept[worst]:.0%}"
    return _row(
        found, f"C7: red fails most ({name})", text, "holds" if worst == "red" else "does not hold", name
    )


def _bluish(found, name):
    """A proxy: the claim is about sky and water, and these photographs carry no such labels."""
    if not _there(found, name):
        return None
    against_mean = found.values(name, "b_shift") - found.values(name, "b_shift", "mean")
    mean, low, high = analysis.interval(against_mean)
    text = (
        f"mean b* {mean:+.2f} [{low:+.2f}, {high:+.2f}] against painting the mean colour (negative: bluish)"
    )
    return _row(
        found, f"C8, by proxy: too much blue ({name})", text, "holds" if high < 0 else "not shown", name
    )
