"""Which of a study's networks differ in what they know alone, and these side by side: what an extractor is worth."""

from koala.config import OF_EXTRACTOR, VOLATILE
from koala.experiment import baselines
from koala.study.compare import chance, common_seeds, difference, one_seed, reads, without_network
from koala.study.finished import FinishedStudy
from koala.study.intervals import interval

# What the extractor is, and how its output enters the network
FEATURES = {"backbone", "weights", *OF_EXTRACTOR}
ARCHITECTURE = {"network", "init", "layer"}  # what is not the same, or has no meaning, in a pyramid
# Of koala.experiment.baselines: what needs no network, and knows what networks are given
KNOWING = ("linear", "category_told", "category")


def controls(study: FinishedStudy) -> list[dict]:
    """Each experiment with an extractor minus its controls, in CIEDE2000 (lower is better), with intervals.

    A control has no extractor, or the same extractor untrained, or with features of another source, and shares every other
    parameter. Controls themselves are compared with no extractor. Nothing else is compared, so that a difference is the
    features' doing. Beside these, an experiment in bf16 minus the same in fp32, one with centred features minus the same with
    features as they come, and one with other initial weights minus the same with PyTorch's."""
    rows = []
    for name in study.experiments:
        for other in study.experiments:
            if _comparable(study.config(name), study.config(other)):
                rows.append(_row(study, name, other))
    return rows


def encoders(study: FinishedStudy) -> list[dict]:
    """Each pyramid minus Deep Koalarization's network that gets one vector of the same extractor, trained as it is, and minus
    that without an extractor, as `controls` has its rows. Photographs, loss, optimizer and schedule are the same; the
    architecture is not."""
    return [_row(study, *pair) for pair in encoder_pairs(study)]


def encoder_pairs(study: FinishedStudy) -> list[tuple[str, str]]:
    """The experiments of `encoders`: (pyramid, what it is compared with)."""
    found = []
    for name in study.experiments:
        for other in study.experiments:
            own, theirs = study.config(name), study.config(other)
            alike = theirs["backbone"] == "none" or (
                theirs["backbone"] == own["backbone"]
                and theirs["feature_source"] == "image"
                and study.untrained(name) == study.untrained(other)
            )
            same_budget = differing(own, theirs) <= ARCHITECTURE | {"weights", "backbone"}
            if (own["network"], theirs["network"]) == ("pyramid", "koala") and alike and same_budget:
                found.append((name, other))
    return found


def earned(study: FinishedStudy, methods: tuple[str, ...] = KNOWING) -> list[dict]:
    """Each network with a trained extractor minus what needs no network and knows as much, in CIEDE2000: what its convolutions
    have earned. methods: of KNOWING: linear colour and colour by lightness of the category told, both from the same features,
    and colour by lightness of the true category. A network that gets the true category is beside the last alone."""
    lines = {
        (method in baselines.OF_FEATURES and study.extractor(name), method, study.tested(name)): (label, name)
        for label, name, method in without_network(study)
    }
    rows = []
    for name in study.experiments:
        config = study.config(name)
        if config["backbone"] == "none" or study.untrained(name):
            continue
        if config["feature_source"] not in ("image", "category"):
            continue
        known = methods if config["feature_source"] == "image" else {"category"} & set(methods)
        for method in known:
            key = (method in baselines.OF_FEATURES and study.extractor(name), method, study.tested(name))
            if key in lines and _trained_on(study, lines[key][1]) == _trained_on(study, name):
                label, other = lines[key]
                values = study.values(name, "ciede2000") - study.values(other, "ciede2000", method)[:1]
                estimate = interval(values, chance(study, "ciede2000"), study.groups(name))
                rows.append(_line(study, study.label(name), label, estimate, len(values)))
    return rows


def _trained_on(study, name) -> int | None:
    """Photographs: what needs no network was made from those of the experiment beside which it stands."""
    return study.first(name).result["photographs"].get("train")


def _row(study, name, other) -> dict:
    seeds = len(common_seeds(study, name, other))
    return _line(study, study.label(name), study.label(other), difference(study, name, other), seeds)


def _line(study, first: str, second: str, estimate, seeds: int) -> dict:
    mean, low, high = estimate
    row = {"experiment": first, "minus": second, "difference": mean, "low": low, "high": high}
    return row | {"seeds": seeds, "verdict": reads(low, high) + one_seed(study, seeds)}


def _comparable(own: dict, theirs: dict) -> bool:
    """Whether `theirs` is a control of `own`, or its twin in fp32, with features that are not centred or with PyTorch's initial
    weights: everything else is the same."""
    differ = differing(own, theirs)
    if differ == {"precision"}:
        return theirs["precision"] == "fp32"
    if differ == {"centre_features"}:
        return not theirs["centre_features"]
    if differ == {"init"}:
        return theirs["init"] == "torch"
    if own["backbone"] == "none" or not differ:
        return False
    if theirs["backbone"] == "none":
        return differ <= FEATURES
    return not _is_control(own) and _is_control(theirs) and differ <= {"weights", "feature_source"}


def _is_control(config: dict) -> bool:
    return config["feature_source"] != "image" or config["weights"] == "untrained"


def differing(own: dict, theirs: dict) -> set[str]:
    """Parameters in which two configurations differ, without the seed and what decides no result."""
    return {key for key in own if own[key] != theirs.get(key, own[key])} - {"seed", "dataset", *VOLATILE}
