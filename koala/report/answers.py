"""What a study says, in sentences made from its numbers: the opening of its pages.

Every number comes from koala.study; nothing is computed here but the mean over seeds of epochs."""

from koala import metrics
from koala.report import objections, pairs, words
from koala.study import compare, curves, elsewhere, fusion
from koala.study.finished import FinishedStudy

GRAY = metrics.BASELINES["gray"]
# CIEDE2000: by how much a photograph has to come nearer to the truth, or to leave it, to be counted
MOVED = 1


def sentences(study: FinishedStudy, rows: list[dict], summary) -> list[str]:
    """The study's question answered: rows as `compared` gives them, summary as koala.study.compare.summary does."""
    methods = {row["label"]: row for row in summary.to_dict("records")}
    told = [
        _helps(study, rows, methods),
        _likewise(study, rows, methods),
        silent(study),
        _best(study, methods),
        objections.gray(study, rows, methods),
        objections.earned(study, methods),
        objections.category(study, methods),
        objections.told(study, rows, methods),
        _content(rows),
        objections.larger(study, rows, methods),
        _encoder(study, methods),
        _controls(rows),
        *_elsewhere(study),
        _untrained(study),
    ]
    return [text for text in told if text] + [_how_sure(study)]


def beside(study: FinishedStudy, first: str, second: str) -> str:
    """How one experiment does beside another, in two sentences: in colour, and in the validation loss."""
    mean, low, high = compare.difference(study, first, second)
    seeds = len(compare.common_seeds(study, first, second))
    row = {"difference": mean, "low": low, "high": high, "seeds": 0}
    told = (
        f"{study.label(first)} minus {study.label(second)}: {words.difference(row)} in CIEDE2000, "
        f"{compare.reads(low, high)}, over {seeds} seed{'s' * (seeds > 1)}."
    )
    if study.config(first)["loss"] != study.config(second)["loss"]:
        return told
    epochs = curves.epochs_to_converge(study, first, second).get("common")
    if epochs is None:
        return told
    needs, against = (f"{count:.1f}" for count in epochs.mean(0))
    return (
        f"{told} To within {curves.WITHIN:.0%} of the lowest validation loss that both reach: {needs} epochs against "
        f"{against}, counted from the first."
    )


def _helps(study, rows, methods) -> str:
    gains, mean = words.of(rows, "extractor"), words.means(methods)
    if not gains:
        return (
            "This study has no trained extractor beside the same network without one: it does not say whether "
            "an extractor helps."
        )
    leading = pairs.leading(study, gains, mean)
    best, better = leading[0], [row for row in leading if row["high"] < 0]
    verdict = "No trained extractor is shown to help"
    if better:
        verdict = (
            "A trained extractor helps" if best in better else "Not every trained extractor is shown to help"
        )
    told = (
        f"{verdict}: {best['experiment']} reaches CIEDE2000 {mean(best['experiment']):.2f} on held-out photographs, the same "
        f"network without an extractor {mean(best['minus']):.2f} (difference {words.difference(best)})."
    )
    experiments = pairs.names(study)
    first, second = (experiments[best[key]] for key in ("experiment", "minus"))
    nearer, farther = compare.moved(study, first, second, MOVED)
    chance = compare.moved_by_chance(study, first, MOVED)
    return told + (
        f" With it {100 * nearer:.0f} % of the photographs are nearer to the truth by more than {MOVED}, and {100 * farther:.0f} % are farther"
        + f"; between two trainings of {best['experiment']} that differ in the seed alone it is {100 * chance:.0f} % either way"
        * (chance == chance)
        + "."
    )


def _likewise(study, rows, methods) -> str:
    """The other extractors beside none, and other pairs of the same ones."""
    gains = words.of(rows, "extractor")
    leading = pairs.leading(study, gains, words.means(methods))
    better, told = [row for row in leading if row["high"] < 0], []
    if len(leading) > 1:
        if likewise := [f"{row['label']} {words.difference(row)}" for row in leading[1:] if row in better]:
            told.append(f"Likewise {'; '.join(likewise)}.")
        short = [f"{row['label']} {words.difference(row)}" for row in leading if row not in better]
        rest = f"; not shown to be: {'; '.join(short)}" * bool(better and short)
        told.append(f"Better than none: {_counted(study, leading, better)}{rest}.")
    if others := [f"{row['label']} {words.difference(row)}" for row in gains if row not in leading]:
        told.append(f"Other pairs with an extractor and without: {'; '.join(others)}.")
    return " ".join(told)


def _counted(study, leading, better) -> str:
    """How many extractors, those distilled here apart: what these learnt is little."""
    experiments, shown = pairs.names(study), {}
    for row in leading:
        remark = study.first(experiments[row["experiment"]]).remark
        shown.setdefault(remark, []).append(row in better)
    return ", ".join(
        f"{sum(each)} of {len(each)} extractor{'s' * (len(each) > 1)} {remark or 'with published weights'}"
        for remark, each in shown.items()
    )


def silent(study) -> str:
    """Runs whose encoder carried no signal: what these end with is not their extractor's doing."""
    lines = fusion.silent(study)
    if not lines:
        return ""
    told = [
        f"{line['label']} (seed {line['seed']}, {line['silent']} of {len(line['encoder'])} epochs)"
        for line in lines
    ]
    return f"The encoder was silent, so that the network heard its extractor alone, in {', '.join(told)}: such a run says little of its extractor."


def _best(study, methods) -> str:
    best = methods[study.label(compare.lowest(study))]
    trivial = [row for row in methods.values() if row["trivial"]]
    other = min(trivial, key=lambda row: row["ciede2000"])
    left_gray = trivial[0]
    interval = f"{best['ciede2000_low']:.2f} to {best['ciede2000_high']:.2f}"
    known = any(study.config(name)["feature_source"] == "category" for name in study.experiments)
    which = "a network that is not told the category" if known else "a network"
    return (
        f"The lowest mean of {which} is that of {best['label']}: {best['ciede2000']:.2f} ({interval}"
        + ", one seed" * (best["seeds"] == 1)
        + f"). Without any network: {left_gray['label']} {left_gray['ciede2000']:.2f}; at best {other['label']}, "
        f"{other['ciede2000']:.2f}."
    )


def _content(rows) -> str:
    """Each experiment with an extractor beside its controls of what the features hold, won or not."""
    content = words.of(rows, "content")
    if not content:
        return ""
    start = (
        "Features of another photograph or of random weights, as far as they have run, do worse"
        if all(row["high"] < 0 for row in content)
        else "Not every control is shown to do worse"
    )
    return start + ": " + "; ".join(f"{row['label']} {words.difference(row)}" for row in content) + "."


def _encoder(study, methods) -> str:
    """The extractor by its maps at every scale beside one vector of it, and what the architecture does without its training."""
    best, alone = pairs.pyramids(study, words.means(methods))
    if not best:
        return ""
    shown = "does better" if best["high"] < 0 else "does worse"
    worth = shown if best["low"] > 0 or best["high"] < 0 else "is not shown to do better"
    told = (
        f"By its maps at several scales ({best['experiment']}) the same extractor {worth} than as one vector: minus "
        f"{best['minus']} {words.difference(best)}."
    )
    if not alone:
        return told
    stored, seen = study.plan.data.get("image_size"), study.config(best["minus"])["image_size"]
    larger = f" and its input, the photograph at {stored} pixels and not {seen}," * (
        stored not in (None, seen)
    )
    return (
        f"{told} What that architecture{larger} {'give' if larger else 'gives'} without a trained extractor (one draw of weights): "
        f"{alone['experiment']} minus {alone['minus']} {words.difference(alone)}."
    )


def _controls(rows) -> str:
    controls = sorted(words.of(rows, "control"), key=lambda row: row["difference"])
    if not controls:
        return ""
    better = [row["experiment"] for row in controls if row["high"] < 0]
    worse = [row["experiment"] for row in controls if row["low"] > 0]
    none = [row["experiment"] for row in controls if row["low"] <= 0 <= row["high"]]
    kinds = (("better", better), ("worse", worse), ("not shown to differ", none))
    told = "; ".join(f"{words} ({', '.join(names)})" for words, names in kinds if names)
    return f"Controls beside no extractor: {told}."


def _elsewhere(study) -> list[str]:
    """A sentence for each other data set that the networks were judged on."""
    told = []
    for name, judged in elsewhere.studies(study).items():
        gains = words.of(pairs.compared(judged), "extractor")
        if not gains:
            continue
        methods = {row["label"]: row for row in compare.summary(judged, ["ciede2000"]).to_dict("records")}
        mean = words.means(methods)
        best = pairs.leading(judged, gains, mean)[0]
        encoder, _ = pairs.pyramids(judged, mean)
        parts = [f"{best['label']} {_shown(best)}"]
        if encoder:
            parts.append(f"{encoder['experiment']} minus {encoder['minus']} {_shown(encoder)}")
        first = judged.experiments[0]
        categories = judged.photographs(first).category.nunique() if judged.over_categories else 0
        told.append(
            f"On {judged.tested(first):,} photographs of another data set ({name}), where gray ones have {mean(GRAY):.2f}, "
            f"{best['experiment']} reaches {mean(best['experiment']):.2f}: {'; '.join(parts)}."
            + f" These intervals are over its {categories} categories, which differ much."
            * (categories > 1)
        )
    return told


def _shown(row) -> str:
    return f"{words.difference(row)}, {compare.reads(row['low'], row['high'])}"


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
        "over photographs alone"
        if seeds[-1] == 1
        else "over photographs (of the same categories) and seeds"
        + ", where there is one seed by those of the other networks" * (seeds[0] == 1)
    )
    return (
        f"Trained on {count['train']:,} photographs, judged on {count['test']:,} others, {many} "
        f"seed{'s' * (seeds[-1] > 1)} per experiment; intervals are {chance}. CIEDE2000: lower is better."
    )
