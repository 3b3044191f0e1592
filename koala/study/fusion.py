"""The two terms of the fusion over training: does the encoder carry a signal, or does the network hear its extractor alone?"""

import pandas as pd

from koala.study.finished import FinishedStudy

# Of the encoder's term: in `replica` it is 0.03 or more where the network learns from it, and under 0.003 where it does not.
SILENT = 0.01


def table(study: FinishedStudy) -> pd.DataFrame:
    """One line per run: label, seed, loss (mean training loss of the first epoch), encoder and embedding (koala.model.fusion_terms
    after each epoch, lists), silent (epochs after which the encoder's term is under SILENT). Without runs that have no fusion."""
    lines = []
    order = study.experiments
    for name, seed in sorted(study.runs, key=lambda key: (order.index(key[0]), key[1])):
        history = study.runs[name, seed].history
        if "encoder_term" in history:
            encoder, embedding = (history[f"{part}_term"].tolist() for part in ("encoder", "embedding"))
            line = {"label": study.label(name), "seed": seed, "loss": history.train_loss[0]}
            line |= {"encoder": encoder, "embedding": embedding}
            lines.append(line | {"silent": sum(term < SILENT for term in encoder)})
    return pd.DataFrame(lines, columns=["label", "seed", "loss", "encoder", "embedding", "silent"])


def silent(study: FinishedStudy) -> list[dict]:
    """The lines of `table` of the runs with an extractor whose encoder was silent after at least one epoch."""
    return [line for line in table(study).to_dict("records") if line["silent"] and any(line["embedding"])]
