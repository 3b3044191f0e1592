"""The report's claims, each as a number of this study with its interval. What cannot be tested is said to be so."""

import numpy as np

from koala.study import compare

ONE, TWO, THREE, FOUR, NONE = "1-inception", "2-convnext", "3-reduced", "4-crossentropy", "no-extractor"
# Extractors whose weights come in packages, so that the report's claims can be tested with them where no hub answers:
# name in the table, with all dimensions, with 256 of them, with the unbinned cross-entropy
LITE = ("EfficientNet-Lite0", "efficientnet", "efficientnet-256", "efficientnet-crossentropy")
OLD = ("Inception-v3 of 2015", "inception2015", "inception2015-256", "inception2015-crossentropy")
GOALS = {"common": "the lowest validation loss that both reach", "own": "its own lowest"}
# Whole names of categories (of SUN, Places and ImageNet), whose photographs C8 and C9 are judged on
WATER = {"sky", "sea", "ocean", "beach", "coast", "seashore", "lakeside", "lake", "river", "harbor"}
GRASS = {
    "grass",
    "lawn",
    "meadow",
    "pasture",
    "field",
    "football_field",
    "soccer_field",
    "golf_course",
    "park",
    "campus",
    "hayfield",
}
EQUAL = 0.3  # CIEDE2000: two experiments are called equal where the whole interval lies within +-EQUAL


def table(found: compare.Study) -> list[dict]:
    """One dict a claim: claim, how it reads here, what was measured. Differences are in CIEDE2000, first minus second, 95 % interval.

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
        *(
            _shift(found, "C8: sky and water too blue ({})", name, "b_shift", WATER)
            for name in (ONE, TWO, LITE[1], OLD[1])
        ),
        *(
            _shift(found, "C9: grass too green ({})", name, "a_shift", GRASS)
            for name in (ONE, TWO, LITE[1], OLD[1])
        ),
    ]
    last = {
        "claim": "C10: objects of many colours fail",
        "reads": "not tested: no labels of objects",
        "measured": "",
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
    untrained = [name for name in names if found.untrained(name)]
    if found.plan.data.get("source", "photos") == "photos":
        verdict = "not judged: the embedded photographs are a check of the chain, never evidence"
    elif untrained:
        verdict = f"not tested: {' and '.join(untrained)} untrained here (between these runs: {verdict})"
    return {"claim": claim, "reads": verdict, "measured": measured}


def _there(found, *names) -> bool:
    return all(name in found.experiments for name in names)


def _compare(found, claim, first, second, equal=False):
    """The claim is that `first` is worse than `second`, or with equal=True that neither is."""
    if not _there(found, first, second):
        return None
    mean, low, high = compare.difference(found, first, second)
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
    epochs = compare.epochs_to_converge(found, first, second)
    if not epochs:
        return _row(found, claim, "no common seed", "not tested", first, second)
    signs = {np.sign(pair[0] - pair[1]) for pair in epochs.values()}
    verdict = "holds" if signs == {-1} else "does not hold" if -1 not in signs else "undecided"
    text = "; ".join(
        f"{pair[0]:.1f} against {pair[1]:.1f} epochs to {GOALS[kind]}" for kind, pair in epochs.items()
    )
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
    claim = f"C7: red fails most ({name})"
    model, gray = compare.by_hue(found, name), compare.by_hue(found, name, "gray")
    kept = {hue: model[hue] / gray[hue] for hue in model if not np.isnan(model[hue])}
    if "red" not in kept:
        return _row(found, claim, "no red pixel in the test split", "not tested", name)
    worst = max(kept, key=kept.get)
    text = f"of the gray picture's error at red {kept['red']:.0%} remain; most remains at {worst}, {kept[worst]:.0%}"
    return _row(found, claim, text, "holds" if worst == "red" else "does not hold", name)


def _shift(found, claim, name, metric, names):
    """Mean shift of a* or b* from the truth over the test photographs of the categories in `names`."""
    if not _there(found, name):
        return None
    table = found.runs[name, found.seeds(name)[0]].per_image
    table = table[table.method == "model"].sort_values("row")
    plain = (
        table["category"].astype(str).str.lower().str.replace(r"-n\d{8}$|.*/", "", regex=True)
    )  # no synset, no folder above
    chosen = plain.isin(names).to_numpy()
    if not chosen.any():
        return _row(found, claim.format(name), "no such category", "not tested", name)
    mean, low, high = compare.interval(found.values(name, metric)[:, chosen])
    where = ", ".join(sorted(set(plain[chosen])))
    text = f"{metric[0]}* {mean:+.2f} [{low:+.2f}, {high:+.2f}] against the truth in {chosen.sum()} photographs of {where}"
    return _row(
        found,
        claim.format(name),
        text,
        "holds" if high < 0 else "does not hold" if low > 0 else "not shown",
        name,
    )
