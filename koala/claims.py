"""The report's claims, each as a number of this study with its interval. What cannot be tested is said to be so."""

import numpy as np

from koala import analysis

ONE, TWO, THREE, FOUR, NONE = "1-inception", "2-convnext", "3-reduced", "4-crossentropy", "no-extractor"


def table(found: analysis.Study) -> list[dict]:
    """One dict a claim: claim, measured here, reads. Differences are in CIEDE2000, first minus second, 95 % interval."""
    rows = [
        _compare(found, "C1: Inception-v3 and ConvNeXt-T end about equal", ONE, TWO, equal=True),
        _compare(found, "C2a: 256 of 1000 dimensions end slightly worse", THREE, ONE, expected="worse"),
        _converge(found, "C2b: 256 of 1000 dimensions converge faster", THREE, ONE),
        _compare(found, "C3: without extractor clearly worse than Inception-v3", NONE, ONE, expected="worse"),
        _compare(
            found,
            "C3: without extractor clearly worse than EfficientNet-Lite0",
            NONE,
            "efficientnet",
            expected="worse",
        ),
        _compare(found, "C4: unbinned cross-entropy far behind", FOUR, ONE, expected="worse"),
        _converge(found, "C5: ConvNeXt-T converges faster than Inception-v3", TWO, ONE),
        *(_still_falling(found, name) for name in (ONE, TWO, THREE)),
        *(_red(found, name) for name in (ONE, TWO)),
        *(_bluish(found, name) for name in (ONE, TWO)),
    ]
    rows = [row for row in rows if row]
    return [
        *rows,
        {
            "claim": "C9, C10: grass too green; objects of many colours",
            "measured": "",
            "reads": "not tested: these photographs carry no labels of objects",
        },
    ]


def _there(found, *names) -> bool:
    return all(name in found.experiments for name in names)


def _trained(found, *names) -> str:
    untrained = [name for name in names if found.label(name) != name]
    return (
        f"; but {', '.join(untrained)} untrained here, so this does not test the report's claim"
        if untrained
        else ""
    )


def _compare(found, claim, first, second, expected="", equal=False):
    if not _there(found, first, second):
        return None
    mean, low, high = analysis.difference(found, first, second)
    outcome = "worse" if low > 0 else "better" if high < 0 else "no difference found"
    holds = (outcome == "no difference found") if equal else outcome == expected
    text = f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"
    return {
        "claim": claim,
        "measured": text,
        "reads": ("holds" if holds else f"does not hold ({outcome})") + _trained(found, first, second),
    }


def _converge(found, claim, first, second):
    if not _there(found, first, second):
        return None
    epochs = [analysis.epochs_to_converge(found, name) for name in (first, second)]
    reads = "holds" if epochs[0] < epochs[1] else "does not hold"
    text = f"90 % of the fall of the validation loss after {epochs[0]:.1f} against {epochs[1]:.1f} epochs"
    return {"claim": claim, "measured": text, "reads": reads + _trained(found, first, second)}


def _still_falling(found, name):
    if not _there(found, name):
        return None
    last = [found.runs[name, seed].history.iloc[-1] for seed in found.seeds(name)]
    gap = np.mean([row.val_loss / row.train_loss - 1 for row in last])
    return {"claim": f"C6: validation loss below training loss at the end ({name})", "measured": f"validation {gap:+.1%} of training",
            "reads": ("holds" if gap < 0 else "does not hold") + _trained(found, name)}  # fmt: skip


def _red(found, name):
    if not _there(found, name):
        return None
    table = analysis.hues(found).set_index("method").loc[found.label(name)].astype(float)
    return {"claim": f"C7: red fails most ({name})", "measured": f"red {table['red']:.1f}; worst is {table.idxmax()} with {table.max():.1f} dE",
            "reads": ("holds" if table.idxmax() == "red" else "does not hold") + _trained(found, name)}  # fmt: skip


def _bluish(found, name):
    if not _there(found, name):
        return None
    mean, low, high = analysis.interval(found.values(name, "b_shift"))
    return {"claim": f"C8: too much blue ({name})", "measured": f"mean b* {mean:+.2f} [{low:+.2f}, {high:+.2f}] against the truth (negative: bluish)",
            "reads": ("holds" if high < 0 else "does not hold") + _trained(found, name)}  # fmt: skip
