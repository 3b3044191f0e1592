"""The report's claims on colours: C7 red, C8 blue at sky and water, C9 green grass, C10 objects of many colours."""

import numpy as np
import pandas as pd

from koala import metrics
from koala.study import compare, hues, verdicts
from koala.study.finished import plain
from koala.study.intervals import interval, ratio_difference

# Whole names of categories (of SUN, Places and ImageNet) whose photographs nearly always show sky or water, or grass
WATER = set(
    "sky sea ocean beach coast seashore lakeside lake river harbor "
    "lifeboat dam suspension_bridge steel_arch_bridge water_tower flagpole".split()
)
GRASS = set(
    "grass lawn meadow pasture field football_field soccer_field golf_course park hayfield lawn_mower bison ox".split()
)
LEAST_CATEGORIES = 10  # for a correlation over categories
TITLES = {
    7: "red fails most",
    8: "sky and water painted too blue",
    9: "all dimensions paint grass greener than it is, and greener than 256 do",
    10: "objects of many colours remain the weak point",
}
WANTED = {
    7: "a network with a trained extractor, MSE, and photographs with at least 2 % red pixels",
    8: "categories of sky or water among the test photographs, and a network with a trained extractor beside one without",
    9: "categories of grass among the test photographs, and the same extractor with all and with 256 dimensions",
    10: f"at least {LEAST_CATEGORIES} categories of objects among the test photographs",
}


def rows(study, networks: list[str], reduced: list[tuple], without: list[tuple]) -> list[dict]:
    """networks: experiments that stand for the report's 1 and 2; reduced: pairs (256 dimensions, all); without: pairs (no
    extractor, one of `networks`)."""
    none = {own: other for other, own in without}
    lines = [*(_red(study, name) for name in networks)]
    lines += painted(study, networks, reduced, without)
    lines += [_many_colours(study, name, none.get(name)) for name in networks]
    return [line for line in lines if line]


def _red(study, name):
    """By recall and by error, against every other common hue: red is worst where it is shown to be worse than each."""
    common = hues.common(study)
    others = [hue for hue in common if hue != "red"]
    if "red" not in common or not others or not study.has(name, "red_recall"):
        return None
    parts, readings = [], []
    for metric, sign, form in (("recall", 1, "z.0%"), ("ciede2000", -1, ".1f")):
        ends = {hue: sign * np.array(hues.between(study, name, "red", hue, metric)[1:]) for hue in others}
        worse = all(pair.max() < 0 for pair in ends.values())
        beaten = any(pair.min() > 0 for pair in ends.values())
        readings.append(verdicts.HOLDS if worse else verdicts.FAILS if beaten else verdicts.OPEN)
        values = ", ".join(
            f"{hue} {verdicts.estimate(form, *_possible(metric, hues.of_hue(study, name, hue, metric)))}"
            for hue in ("red", *others)
        )
        parts.append(f"{'recall' if metric == 'recall' else 'CIEDE2000'}: {values}")
    verdict = readings[0] if len(set(readings)) == 1 else f"{readings[0]} by recall, {readings[1]} by error"
    rare = [hue for hue in metrics.HUES if hue not in common]
    values = ", ".join(
        f"{hue} (recall {hues.of_hue(study, name, hue, 'recall')[0]:.0%}, CIEDE2000 {hues.of_hue(study, name, hue, 'ciede2000')[0]:.1f})"
        for hue in rare
    )
    parts += [f"not judged, since under {hues.LEAST:.0%} of the pixels each: {values}"] * bool(rare)
    return verdicts.row((7, TITLES[7]), verdict, "; ".join(parts), name)


def _possible(metric: str, ends) -> tuple:
    """Without what no share can be: few seeds give an interval beyond."""
    return tuple(np.clip(ends, 0, 1)) if metric == "recall" else ends


def painted(
    study, networks: list[str], reduced: list[tuple], without: list[tuple], where: str = ""
) -> list[dict]:
    """C8 and C9; arguments as for `rows`. where: on which other photographs, in words for the claim.

    C8, too blue: more of the pixels are blue than in truth, and more than without the extractor that is blamed for it."""
    none = {own: other for other, own in without}
    lines = [_painted(study, 8, "blue", WATER, name, none[name], where) for name in networks if name in none]
    lines += [_painted(study, 9, "green", GRASS, whole, fewer, where) for fewer, whole in reduced]
    return [line for line in lines if line]


def _painted(study, number, hue, categories, name, other, where):
    """By share of the coloured pixels and by share of all pixels: a pale network paints few pixels in any hue."""
    chosen = plain_categories(study, name).isin(categories).to_numpy()
    seeds = compare.common_seeds(study, name, other)
    if not chosen.any() or not seeds or not study.has(name, f"{hue}_painted"):
        return None
    own, true, others = (
        hues.of_coloured(study, *which, hue, chosen, seeds)
        for which in ((name, "painted"), (name, "share"), (other, "painted"))
    )
    kinds = plain_categories(study, name)[chosen].to_numpy(str)
    groups = kinds if len(set(kinds)) > 1 else None  # a sample of those with sky, or grass
    estimates = {
        "the coloured pixels": [ratio_difference(*own, *two, groups) for two in (true, others)],
        "all pixels": [interval(own[0] - two[0], groups=groups) for two in (true, others)],
    }
    readings = [_too_much(*pair) for pair in estimates.values()]
    verdict = readings[0]
    if len(set(readings)) > 1:
        verdict = f"{readings[0]} by share of the coloured pixels, {readings[1]} by share of all"
    parts = [
        f"{hue} among {pixels}, in percentage points: painted minus true {_points(excess)}, minus {study.label(other)}'s "
        f"{_points(more)}"
        for pixels, (excess, more) in estimates.items()
    ]
    text = "; ".join([*parts, f"{chosen.sum()} photographs of {', '.join(sorted(set(kinds)))}"])
    text += ", so that intervals are over photographs" * (groups is None)
    return verdicts.row((number, TITLES[number] + where), verdict, text, name, other)


def _points(shares) -> str:
    return verdicts.estimate("+z.1f", *(100 * share for share in shares))


def _too_much(excess, more) -> str:
    """Whether a hue is painted more than is true, and more than by the other network."""
    if excess[1] > 0 and more[1] > 0:
        return verdicts.HOLDS
    return verdicts.FAILS if excess[2] < 0 or more[2] < 0 else verdicts.OPEN


def _many_colours(study, name, none):
    """Over categories, and their coloured pixels alone: the entropy of the true hues against the share of the gray photograph's
    error that remains. Colourless pixels have no hue to be mistaken for, and hardly an error that could be taken away."""
    if not study.has(name, *(f"{hue}_ciede2000" for hue in metrics.HUES)):
        return None
    categories = plain_categories(study, name)
    pairs = pd.DataFrame(
        {"kept": remaining(study, name, categories), "bits": hue_entropy(study, name, categories)}
    ).dropna()
    if len(pairs) < LEAST_CATEGORIES or min(pairs.nunique()) == 1:
        return None
    value, low, high = rank_correlation(pairs.bits.to_numpy(), pairs.kept.to_numpy())
    verdict = verdicts.HOLDS if low > 0 else verdicts.FAILS if high < 0 else verdicts.OPEN
    others = {"colour by lightness, without a network,": remaining(study, name, categories, "lightness")}
    if none:
        others[study.label(none)] = remaining(study, none, categories)
    beside = [
        f"{other} has {rank_correlation(pairs.bits.to_numpy(), kept.reindex(pairs.index).to_numpy())[0]:+z.2f}"
        for other, kept in others.items()
    ]
    text = (
        f"rank correlation over {len(pairs)} categories {verdicts.estimate('+z.2f', value, low, high)}: entropy of the true hues "
        f"against the share of the gray photograph's error that remains, both over coloured pixels; {', '.join(beside)}"
    )
    return verdicts.row((10, TITLES[10]), verdict, text, name)


def plain_categories(study, name) -> pd.Series:
    """Categories of the test photographs in lower case, without synset and without the folder above."""
    return study.photographs(name).category.astype(str).str.lower().map(plain)


def remaining(study, name, categories: pd.Series, method: str = "model") -> pd.Series:
    """Share of the gray photograph's CIEDE2000 over coloured pixels that the network leaves, or that a method without a network
    does on the same photographs, by category, means over photographs and seeds; without categories that have no coloured
    pixel."""
    holder = name if method == "model" else study.holder(name, method)
    error = hues.coloured_error(study, holder, method).mean(0)
    gray = hues.coloured_error(study, study.holder(name, "gray"), "gray").mean(0)
    sums = pd.DataFrame({"error": error, "gray": gray}).groupby(categories.to_numpy()).sum()
    sums = sums[sums.gray > 0]
    return sums.error / sums.gray


def hue_entropy(study, name, categories: pd.Series) -> pd.Series:
    """Entropy in bits of the true hues of a category's coloured pixels, by category; without those that have none."""
    shares = pd.DataFrame({hue: study.values(name, f"{hue}_share")[0] for hue in metrics.HUES})
    sums = shares.groupby(categories.to_numpy()).sum()
    sums = sums[sums.sum(axis=1) > 0]
    parts = sums.div(sums.sum(axis=1), axis=0).clip(lower=1e-12)
    return -(parts * np.log2(parts)).sum(axis=1)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Spearman's with its 95 % interval by Fisher's z, with the variance of Bonett and Wright 2000."""
    value = float(pd.Series(first).corr(pd.Series(second), method="spearman"))
    half = 1.96 * np.sqrt((1 + value**2 / 2) / (len(first) - 3))
    low, high = np.tanh(np.arctanh(np.clip(value, -0.9999, 0.9999)) + np.array([-half, half]))
    return value, float(low), float(high)
