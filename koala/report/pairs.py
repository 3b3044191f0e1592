"""Differences between the runs of a study with their labels and kinds: what its charts draw and its sentences say."""

from koala.study import contrasts
from koala.study.finished import FinishedStudy

# Parameters in which twins differ alone -> the kind of their difference
TWINS = {"precision": "precision", "centre_features": "centring", "init": "init"}


def compared(study: FinishedStudy) -> list[dict]:
    """koala.study.contrasts.controls with `label` and `kind`: "extractor" (a trained extractor minus none), "content"
    (a trained extractor minus the same with controlled features), "control" (a control minus none), "told" (of these, where
    either gets the true category's features, which no photograph tells), "precision", "centring", "init"."""
    experiments, rows = names(study), []
    for row in contrasts.controls(study):
        if not row["seeds"]:  # none in common yet
            continue
        first, second = experiments[row["experiment"]], experiments[row["minus"]]
        label = f"{row['experiment']} minus {row['minus']}"
        rows.append({**row, "label": label, "kind": _kind(study, first, second)})
    return rows


def encoders(study: FinishedStudy) -> list[dict]:
    """koala.study.contrasts.encoders with `label` and `kind`: "extractor" where the pyramid's is trained, else "control"."""
    experiments = names(study)
    return [
        {
            **row,
            "label": f"{row['experiment']} minus {row['minus']}",
            "kind": "control" if study.untrained(experiments[row["experiment"]]) else "extractor",
        }
        for row in contrasts.encoders(study)
    ]


def leading(study, rows, mean) -> list[dict]:
    """One row for each extractor, with all of its dimensions and the most seeds; where that leaves several, the one that is
    against the better network (by `mean` of a row). In the study's order among those of most seeds: its first pair leads,
    whichever does best.

    Never chosen by the difference, which would pick the pair whose second fails."""
    experiments, chosen = names(study), {}
    for row in sorted(rows, key=lambda row: (-row["seeds"], mean(row["minus"]))):
        name = experiments[row["experiment"]]
        reduced = study.config(name)["feature_dims"] > 0
        key = study.extractor(name)
        if key not in chosen or chosen[key][0] > reduced:
            chosen[key] = (reduced, row)
    order = list(experiments)
    return sorted(
        (row for _, row in chosen.values()), key=lambda row: (-row["seeds"], order.index(row["experiment"]))
    )


def pyramids(study, mean) -> tuple[dict | None, dict | None]:
    """Of koala.study.contrasts.encoders: a trained one beside a vector, an untrained one beside none; of the most seeds, the best,
    and against the best."""
    experiments, rows = names(study), {}
    order = sorted(
        contrasts.encoders(study),
        key=lambda row: (-row["seeds"], mean(row["experiment"]), mean(row["minus"])),
    )
    for row in order:
        none = study.config(experiments[row["minus"]])["backbone"] == "none"
        rows.setdefault((study.untrained(experiments[row["experiment"]]), none), row)
    return rows.get((False, False)), rows.get((True, True))


def names(study) -> dict[str, str]:
    """label -> experiment."""
    return {study.label(name): name for name in study.experiments}


def _kind(study, first: str, second: str) -> str:
    own, other = study.config(first), study.config(second)
    for parameter, kind in TWINS.items():
        if own[parameter] != other[parameter] and own["backbone"] == other["backbone"]:
            return kind
    if "category" in (own["feature_source"], other["feature_source"]):
        return "told"
    if study.untrained(first) or own["feature_source"] != "image":
        return "control"
    return "extractor" if other["backbone"] == "none" else "content"
