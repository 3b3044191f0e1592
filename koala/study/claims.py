"""The report's claims, each as numbers of this study with their intervals, and where it cannot be tested, why.

A study's experiments may stand for the report's under other names (inception2015 for Inception-v3), so runs are selected
by their configuration: networks that differ in nothing but what the claim is about.
"""

from koala.study import claims_colour, contrasts, elsewhere, fusion, verdicts
from koala.study.finished import FinishedStudy

INCEPTION = ("inception", "inception2015")
SCHEDULE = {"epochs", "lr_step"}
FAMILY = {"backbone", "weights", "layer"}  # what one extractor has and another has not
WANTED = {  # number of a claim -> what would decide it where no runs do
    0: "runs with Inception-ResNet-v2's ImageNet weights beside Inception-v3 or ConvNeXt-T",
    1: "an Inception-v3 and a ConvNeXt-T that were trained alike",
    2: "the same extractor with all and with 256 of its dimensions",
    3: "the same network with a trained extractor and with none",
    4: "the same extractor with the unbinned cross-entropy and with MSE",
    5: "an Inception-v3 and a ConvNeXt-T that were trained alike",
    6: "a network with a trained extractor, MSE and more than one epoch",
    **claims_colour.WANTED,
}


TITLES = {
    0: "Inception-v3 and ConvNeXt-T are comparable to Inception-ResNet-v2",
    1: "Inception-v3 and ConvNeXt-T end about equal",
    2: "256 dimensions are enough and converge faster",
    3: "without extractor worse",
    4: "unbinned cross-entropy far behind",
    5: "ConvNeXt-T converges faster than Inception-v3",
    6: "validation loss below training loss, more epochs would help",
    **claims_colour.TITLES,
}


def table(study: FinishedStudy) -> list[dict]:
    """One dict per claim and pair of networks: claim, networks, verdict and what was measured. Differences are in CIEDE2000,
    and beside it in MSE, the report's own measure; first minus second, 95 % interval.

    "untrained" in the verdict: the claim is about a trained extractor, which this study did not have; "distilled here": about one
    that learnt on ImageNet, for which another stands in."""
    rows = [
        *_ends(study),
        *_losses(study),
        *claims_colour.rows(study, networks(study), reduced(study), without(study)),
        *_elsewhere(study),
    ]
    tested = {row["number"] for row in rows}
    rows += [
        verdicts.row(_claim(number), "not tested", f"would need {needed}")
        for number, needed in WANTED.items()
        if number not in tested
    ]
    silent = {line["label"] for line in fusion.silent(study)}
    return [_line(study, row, silent) for row in sorted(rows, key=lambda row: row["number"])]


def _elsewhere(study) -> list[dict]:
    """Claims on colours, on the other data sets that the study was judged on."""
    rows = []
    for name, judged in elsewhere.studies(study).items():
        rows += claims_colour.painted(
            judged, networks(judged), reduced(judged), without(judged), f", on {name}"
        )
    return rows


def networks(study, *also: str) -> list[str]:
    """Experiments that stand for the report's models 1 and 2: all dimensions of an extractor's own features, MSE; the first of
    each extractor, and of each value of the parameters `also`."""
    names, seen = [], set()
    for name in study.experiments:
        config = study.config(name)
        key = (*_extractor(study, name), *(config[parameter] for parameter in also))
        if _whole(config) and key not in seen:
            seen.add(key)
            names.append(name)
    return names


def reduced(study) -> list[tuple[str, str]]:
    """Pairs (a random 256 or so of an extractor's dimensions, all of them)."""
    return _pairs(study, lambda c: c["feature_dims"] > 0, lambda c: c["feature_dims"] == 0, {"feature_dims"})


def without(study) -> list[tuple[str, str]]:
    """Pairs (no extractor, a network with one)."""
    return _pairs(study, lambda c: c["backbone"] == "none", _whole, contrasts.FEATURES)


def _unbinned(study) -> list[tuple[str, str]]:
    """Pairs (a cross-entropy as we read the report, the mean squared error)."""
    return _pairs(study, lambda c: c["loss"].startswith("crossentropy"), _whole, {"loss"})


def _pairs(study, is_first, is_second, differing) -> list[tuple[str, str]]:
    """Experiments that meet the two conditions on their configurations and differ in nothing but `differing`."""
    pairs = []
    for first in study.experiments:
        for second in study.experiments:
            own, other = study.config(first), study.config(second)
            if (
                first != second
                and is_first(own)
                and is_second(other)
                and contrasts.differing(own, other) <= differing
            ):
                pairs.append((first, second))
    return pairs


def _whole(config) -> bool:
    plain = config["feature_source"] == "image" and config["feature_dims"] == 0 and config["loss"] == "mse"
    asked = config["weights"] != "untrained"  # a control; others may be untrained for want of weights
    return plain and asked and config["backbone"] != "none" and config.get("network", "koala") == "koala"


def _extractor(study, name) -> tuple:
    config = study.config(name)
    return config["backbone"], config["layer"], study.first(name).remark


def _alike(study, pairs) -> list:
    """Pairs whose extractors' weights come from the same kind of training: ImageNet's, or distilled here."""
    return [pair for pair in pairs if study.first(pair[0]).remark == study.first(pair[1]).remark]


def _ends(study) -> list[dict]:
    """Claims on where the networks end: C0, C1, C2, C3, C4."""
    old = _pairs(study, _whole, lambda c: c["backbone"] == "inception_resnet" and _whole(c), FAMILY)
    one_two = _one_two(study)
    rows = [
        verdicts.equal(study, _claim(0), *pair)
        for pair in _alike(study, old)
        if study.config(pair[0])["backbone"] in (*INCEPTION, "convnext")
    ]
    rows += [verdicts.equal(study, _claim(1), *pair) for pair in one_two]
    for pair in reduced(study):
        of = _dimensions(study, pair[0])
        rows += [
            verdicts.equal(study, (2, f"{of} cost no performance"), *pair),
            verdicts.worse(study, (2, f"{of} end slightly worse"), *pair),
        ]
    for pair in without(study):
        rows += [
            verdicts.worse(study, _claim(3), *pair),
            verdicts.far_behind(study, (3, "without extractor far behind"), *pair),
        ]
    rows += [
        verdicts.far_behind(study, (4, f"far behind, {_reading(study, pair[0])}"), *pair)
        for pair in _unbinned(study)
    ]
    return rows


def _one_two(study) -> list[tuple[str, str]]:
    """Pairs (Inception-v3, ConvNeXt-T) that were trained alike."""
    pairs = _pairs(
        study,
        lambda c: c["backbone"] in INCEPTION and _whole(c),
        lambda c: c["backbone"] == "convnext" and _whole(c),
        FAMILY,
    )
    return _alike(study, pairs)


def _losses(study) -> list[dict]:
    """Claims on the curves: C2's and C5's speed, C4's gap, C6."""
    rows = [
        verdicts.faster(study, (2, f"{_dimensions(study, pair[0])} converge faster"), *pair)
        for pair in reduced(study)
    ]
    rows += [verdicts.faster(study, _claim(5), two, one) for one, two in _one_two(study)]
    rows += [
        verdicts.gap(
            study, (4, f"a larger gap between training and validation, {_reading(study, pair[0])}"), *pair
        )
        for pair in _unbinned(study)
    ]
    for name in networks(study, "epochs", "lr_step"):
        rows += [verdicts.below_training(study, name), *verdicts.still_falling(study, name)]
    rows += [verdicts.longer_helps(study, *pair) for pair in _longer(study)]
    return rows


def _longer(study) -> list[tuple[str, str]]:
    """Pairs (the same network over more epochs, over fewer)."""
    pairs = _pairs(study, _whole, _whole, SCHEDULE)
    return [(one, two) for one, two in pairs if study.config(one)["epochs"] > study.config(two)["epochs"]]


def _dimensions(study, name) -> str:
    """How many of how many: the report kept 256 of 1,000."""
    return f"{study.config(name)['feature_dims']} of {study.first(name).env['weights']['width']:,} dimensions"


def _reading(study, name) -> str:
    unit = study.config(name)["loss"] == "crossentropy_unit"
    return "a*b* scaled to [0, 1]" if unit else "a*b* scaled to [-1, 1]"


def _claim(number: int) -> tuple[int, str]:
    return number, TITLES[number]


def _line(study, row, silent: set[str]) -> dict:
    """A row of koala.study.verdicts as the table has it: its networks named, and no verdict where these cannot give one.
    silent: labels of networks that heard their extractor alone."""
    names = row["names"]
    unheard = [label for label in map(study.label, names) if label in silent]
    untrained = [name for name in names if study.untrained(name)]
    row = {
        "claim": f"C{row['number']}: {row['words']}",
        "networks": " against ".join(study.label(name) for name in names),
        "verdict": row["verdict"],
        "measured": row["measured"],
    }
    if study.plan.demo:
        row["verdict"] = "not judged: the embedded photographs are a check of the chain, never evidence"
    elif untrained:
        row["verdict"] = (
            f"not tested: {' and '.join(untrained)} untrained here (between these runs: {row['verdict']})"
        )
    else:
        if unheard:
            row["verdict"] = (
                f"{verdicts.OPEN}: the encoder of {' and '.join(unheard)} was silent (between these runs: {row['verdict']})"
            )
        if any(study.first(name).remark for name in names):
            row["verdict"] = f"distilled here, not ImageNet's: {row['verdict']}"
    return row
