"""What a study says, in sentences made from its numbers: the opening of its pages.

Every number comes from koala.study.compare; nothing is computed here."""

from koala import metrics
from koala.study import compare, curves, elsewhere

GRAY = metrics.BASELINES["gray"]


def compared(study: compare.FinishedStudy) -> list[dict]:
    """koala.study.compare.contrasts with `label` and `kind`: "extractor" (a trained extractor minus none), "content"
    (a trained extractor minus the same with controlled features), "control" (a control minus none), "precision"."""
    names = {study.label(name): name for name in study.experiments}
    rows = []
    for row in compare.contrasts(study):
        first, second = names[row["experiment"]], names[row["minus"]]
        label = f"{row['experiment']} minus {row['minus']}"
        rows.append({**row, "label": label, "kind": _kind(study, first, second)})
    return rows


def sentences(study: compare.FinishedStudy, rows: list[dict], summary) -> list[str]:
    """The study's question answered: rows as `compared` gives them, summary as koala.study.compare.summary does."""
    methods = {row["label"]: row for row in summary.to_dict("records")}
    told = [
        _helps(rows, methods),
        _best(methods),
        _earned(study),
        _category(study, methods),
        _content(rows),
        _encoder(study),
        _controls(rows),
        *_elsewhere(study),
        _untrained(study),
    ]
    return [text for text in told if text] + [_how_sure(study)]


def beside(study: compare.FinishedStudy, first: str, second: str) -> str:
    """How one experiment does beside another, in two sentences: in colour, and in the validation loss."""
    mean, low, high = compare.difference(study, first, second)
    seeds = len(compare.common_seeds(study, first, second))
    row = {"difference": mean, "low": low, "high": high}
    told = (
        f"{study.label(first)} minus {study.label(second)}: {difference(row)} in CIEDE2000, "
        f"{compare.reads(low, high, seeds)}, over {seeds} seed{'s' * (seeds > 1)}."
    )
    if study.config(first)["loss"] != study.config(second)["loss"]:
        return told
    epochs = curves.epochs_to_converge(study, first, second).get("common")
    if epochs is None:
        return told
    needs, against = (f"{count:.1f}" for count in epochs.mean(0))
    return f"{told} To the lowest validation loss that both reach: {needs} epochs against {against}."


def is_demo(plan) -> bool:
    """Whether a study's photographs are the embedded ones, which are no evidence."""
    return plan.data.get("source", "photos") == "photos"


def difference(row: dict) -> str:
    """A difference with its interval, in words."""
    return f"{signed(row['difference'])}, 95 % interval {signed(row['low'])} to {signed(row['high'])}"


def signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def _kind(study, first: str, second: str) -> str:
    own, other = study.config(first), study.config(second)
    if own["precision"] != other["precision"] and own["backbone"] == other["backbone"]:
        return "precision"
    if study.untrained(first) or own["feature_source"] != "image":
        return "control"
    return "extractor" if other["backbone"] == "none" else "content"


def _of(rows, kind):
    return sorted((row for row in rows if row["kind"] == kind), key=lambda row: row["difference"])


def _helps(rows, methods) -> str:
    gains = _of(rows, "extractor")
    if not gains:
        return (
            "This study has no trained extractor beside the same network without one: it does not say whether "
            "an extractor helps."
        )
    best, better = gains[0], [row for row in gains if row["high"] < 0]
    verdict = (
        ("A trained extractor helps" if better else "No trained extractor is shown to help")
        + f": {best['experiment']} reaches CIEDE2000 {methods[best['experiment']]['ciede2000']:.2f} on held-out photographs"
    )
    none = methods[best["minus"]]["ciede2000"]
    rest = f", the same network without an extractor {none:.2f} (difference {difference(best)})."
    several = f" {len(better)} of {len(gains)} trained extractors are better than none." * (len(gains) > 1)
    return verdict + rest + several


def _best(methods) -> str:
    networks = [row for row in methods.values() if not row["trivial"]]
    trivial = [row for row in methods.values() if row["trivial"]]
    best, other = (min(rows, key=lambda row: row["ciede2000"]) for rows in (networks, trivial))
    left_gray = trivial[0]
    interval = f"{best['ciede2000_low']:.2f} to {best['ciede2000_high']:.2f}"
    return (
        f"The best network is {best['label']}: {best['ciede2000']:.2f} ({interval}). Without any network: "
        f"{left_gray['label']} {left_gray['ciede2000']:.2f}; at best {other['label']}, {other['ciede2000']:.2f}."
    )


def _earned(study) -> str:
    rows = compare.earned(study, ("linear",))
    if not rows:
        return ""
    best = min(rows, key=lambda row: row["difference"])
    better = sum(row["high"] < 0 for row in rows)
    return (
        f"Beside {best['minus']}, a regression that knows the same features and needs no network, {best['experiment']} "
        f"is {difference(best)}: {best['reads']}"
        + f"; {better} of {len(rows)} such networks are better" * (len(rows) > 1)
        + "."
    )


def _category(study, methods) -> str:
    """The strongest objection: how far the photograph's category alone goes, without any network."""
    rows = compare.earned(study, ("category",))
    if not rows:
        return ""
    best = min(rows, key=lambda row: row["difference"])
    return (
        f"The objection: who is told a photograph's category needs no network. {best['minus'].capitalize()} has "
        f"{methods[best['minus']]['ciede2000']:.2f}; {best['experiment']} minus that is {difference(best)}: {best['reads']}."
    )


def _content(rows) -> str:
    """Each experiment with the controls that it is better than."""
    worse = {}
    for row in _of(rows, "content"):
        if row["high"] < 0:
            worse.setdefault(row["experiment"], []).append(f"{row['minus']} ({difference(row)})")
    told = [f"{name} is better than {' and '.join(controls[:4])}" for name, controls in worse.items()]
    return f"It is what the extractor knows that helps: {'; '.join(told)}." if told else ""


def _encoder(study) -> str:
    """The extractor as an encoder beside one vector of it, and what the architecture does without its training."""
    best, alone = _pyramids(study)
    if not best:
        return ""
    worth = (
        "worth more"
        if best["high"] < 0
        else "worth less"
        if best["low"] > 0
        else "not shown to be worth more"
    )
    told = (
        f"As an encoder, by its maps at every scale, the same extractor is {worth} than as one vector: "
        f"{best['experiment']} minus {best['minus']}: {difference(best)}."
    )
    if not alone:
        return told
    return f"{told} The architecture by itself: {alone['experiment']} minus {alone['minus']}: {difference(alone)}."


def _pyramids(study) -> tuple[dict | None, dict | None]:
    """Of koala.study.compare.encoders: the best that is trained beside a vector, the best that is untrained beside none."""
    names, rows = {study.label(name): name for name in study.experiments}, {}
    for row in sorted(compare.encoders(study), key=lambda row: row["difference"]):
        none = study.config(names[row["minus"]])["backbone"] == "none"
        rows.setdefault((study.untrained(names[row["experiment"]]), none), row)
    return rows.get((False, False)), rows.get((True, True))


def _controls(rows) -> str:
    controls = _of(rows, "control")
    if not controls:
        return ""
    better = [row["experiment"] for row in controls if row["high"] < 0]
    worse = [row["experiment"] for row in controls if row["low"] > 0]
    none = [row["experiment"] for row in controls if row["low"] <= 0 <= row["high"]]
    kinds = (("better than", better), ("worse than", worse), ("not shown to differ from", none))
    told = "; ".join(f"{', '.join(names)}: {words} no extractor" for words, names in kinds if names)
    return f"Extractors that cannot know the photograph: {told}."


def _elsewhere(study) -> list[str]:
    """A sentence for each other data set that the networks were judged on."""
    told = []
    for name in elsewhere.names(study):
        judged = elsewhere.read(study, name)
        gains = _of(compared(judged), "extractor")
        methods = {row["label"]: row for row in compare.summary(judged, ["ciede2000"]).to_dict("records")}
        if gains:
            encoder, _ = _pyramids(judged)
            more = (
                f" {encoder['experiment']} minus {encoder['minus']}: {difference(encoder)}."
                if encoder
                else ""
            )
            told.append(
                f"On {judged.tested(judged.experiments[0]):,} photographs of another data set ({name}), "
                f"{gains[0]['experiment']} reaches {methods[gains[0]['experiment']]['ciede2000']:.2f}, leaving them gray "
                f"{methods[GRAY]['ciede2000']:.2f}; {gains[0]['label']}: {difference(gains[0])}." + more
            )
    return told


def _untrained(study) -> str:
    names = [name for name in study.experiments if study.untrained(name)]
    asked = {name for name in names if study.config(name)["weights"] == "untrained"}
    lost = [name for name in names if name not in asked]
    if not lost:
        return ""
    return (
        f"{', '.join(lost)}: no trained weights were available where this ran, so these rows say nothing about the "
        "trained extractors."
    )


def _how_sure(study) -> str:
    run = next(iter(study.runs.values()))
    count = run.result["photographs"]
    seeds = sorted({len(study.seeds(name)) for name in study.experiments})
    many = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    chance = (
        "over photographs alone" if seeds[-1] == 1 else "over photographs and, where there are several, seeds"
    )
    return (
        f"Trained on {count['train']:,} photographs, judged on {count['test']:,} others, {many} "
        f"seed{'s' * (seeds[-1] > 1)} per experiment; intervals are {chance}. CIEDE2000: lower is better."
    )
