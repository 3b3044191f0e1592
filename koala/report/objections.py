"""What a study's networks have to be better than, in sentences: gray photographs, a regression, tables of colours by category."""

from koala.report import pairs, words
from koala.study import contrasts, left_gray

ALONE = "one seed"  # what needs no network has none


def gray(study, rows, methods) -> str:
    """The leading network with an extractor and the same without beside photographs left gray, and which are not better."""
    gains = words.of(rows, "extractor")
    if not gains:
        return ""
    experiments, leading = pairs.names(study), pairs.leading(study, gains, words.means(methods))[0]
    shown = [experiments[leading[key]] for key in ("experiment", "minus")]
    beside = {name: left_gray.minus(study, name) for name in study.experiments}
    parts = [
        f"{study.label(name)} {words.ends(beside[name])}, better for "
        f"{100 * left_gray.better(study, name):.0f} % of the photographs"
        for name in shown
    ]
    same = [study.label(name) for name in beside if left_gray.same(study, name)]
    worse = [study.label(name) for name, (_, low, _) in beside.items() if low > 0]
    open_ = [
        study.label(name)
        for name, (_, low, high) in beside.items()
        if low <= 0 <= high and study.label(name) not in same
    ]
    return (
        f"Compared with photographs left gray: {'; '.join(parts)}."
        + f" Worse than gray: {', '.join(worse)}." * bool(worse)
        + f" Not shown to differ from gray: {', '.join(open_)}." * bool(open_)
        + f" Gray at every pixel: {', '.join(same)}." * bool(same)
    )


def earned(study, methods) -> str:
    """The networks that share loss and features with a regression, beside it."""
    names, rows = pairs.names(study), _by_mse(study, contrasts.earned(study, ("linear",)))
    rows = [row for row in rows if not study.config(names[row["experiment"]])["feature_dims"]]
    if not rows:
        return ""
    leading = pairs.leading(study, rows, words.means(methods))
    best, better = leading[0], sum(row["high"] < 0 for row in leading)
    return (
        f"A ridge regression from the same features, without a network ({best['minus']}), reaches "
        f"{methods[best['minus']]['ciede2000']:.2f}: {best['experiment']} minus that {words.difference(best, ALONE)}, {best['verdict']}"
        + f"; this holds for {better} of {len(leading)} extractors" * (len(leading) > 1)
        + "."
    )


def category(study, methods) -> str:
    """The strongest objection: how far the photograph's category alone goes, by a table of colours."""
    own, _ = _beside_category(study)
    if not own:
        return ""
    best = min(own, key=lambda row: (-row["seeds"], methods[row["experiment"]]["ciede2000"]))
    guessed = [
        row for row in contrasts.earned(study, ("category_told",)) if row["experiment"] == best["experiment"]
    ]
    better, worse = sum(row["high"] < 0 for row in own), sum(row["low"] > 0 for row in own)
    return (
        "An objection: where the category is known, a table of colours needs no network. "
        f"{best['minus'].capitalize()} reaches {methods[best['minus']]['ciede2000']:.2f}: {best['experiment']} minus that "
        f"{words.difference(best, ALONE)}, {best['verdict']}; of the {len(own)} network{'s' * (len(own) > 1)} with a trained extractor and MSE {better or 'none'} "
        f"{'are' if better > 1 else 'is'} shown to be better than the table, {worse or 'none'} to be worse."
        + "".join(
            f" Where the table has to tell the category from the same features, it reaches "
            f"{methods[row['minus']]['ciede2000']:.2f}: {row['experiment']} minus that {words.difference(row, ALONE)}, {row['verdict']}."
            for row in guessed
        )
    )


def told(study, rows, methods) -> str:
    """A network that gets the true category's features, beside one that gets the photograph's and beside the table."""
    own, given = _beside_category(study)
    names = {row["experiment"] for row in own}
    rows = [row for row in words.of(rows, "told") if row["experiment"] in names]
    if not rows:
        return ""
    network = rows[0]["minus"]
    parts = [f"{row['label']} {words.difference(row)}" for row in rows if row["minus"] == network]
    parts += [
        f"{network} minus the table {words.difference(row, ALONE)}"
        for row in given
        if row["experiment"] == network
    ]
    return (
        f"A network that gets the mean features of the true category ({network}) reaches "
        f"{methods[network]['ciede2000']:.2f}: {'; '.join(parts)}."
    )


def larger(study, rows, methods) -> str:
    """The extractor's picture beside the network's, where it is the larger one."""
    gains = words.of(rows, "extractor")
    if not gains:
        return ""
    names, leading = pairs.names(study), pairs.leading(study, gains, words.means(methods))[0]
    stored, seen = study.plan.data.get("image_size"), study.config(names[leading["experiment"]])["image_size"]
    if stored in (None, seen):
        return ""
    return (
        f"Another objection: with an extractor more pixels are seen, the photograph at {stored} pixels and not {seen}. What "
        "trained weights take from the larger picture's detail, and not from recognizing, is not told apart here."
    )


def _by_mse(study, rows) -> list[dict]:
    """Those whose network has the loss that the ways without a network have, too."""
    names = pairs.names(study)
    return [row for row in rows if study.config(names[row["experiment"]])["loss"] == "mse"]


def _beside_category(study) -> tuple[list[dict], list[dict]]:
    """Networks with MSE beside colour by lightness of the true category: those that are not told it, and those that are."""
    names, rows = pairs.names(study), _by_mse(study, contrasts.earned(study, ("category",)))
    given = [row for row in rows if study.config(names[row["experiment"]])["feature_source"] == "category"]
    return [row for row in rows if row not in given], given
