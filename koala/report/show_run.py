"""What the notebooks display: banners, tables and pictures from a run's artefacts. HTML that loads nothing."""

import os
import sys

import numpy as np
import pandas as pd
import torch
from IPython.display import HTML, display

from koala import lab, metrics
from koala.experiment import artefacts, baselines, evaluate, provenance
from koala.experiment.pipeline import trained_job
from koala.report import charts, pictures, tables
from koala.system import terminal
from koala.training.batches import at_size

SHOWN = 4  # photographs of each split
CLASSES = 3  # of each photograph
SEEN = "Photographs that training has seen beside held-out ones"
SPEED = {"ms": "{:.2f}", "times": "{:.2f}", "lowest": "{:.2f}", "highest": "{:.2f}", "peak MiB": "{:,.0f}"}
SUSTAINED = {
    "per_second": "{:,.1f}",
    "gflop": "{:.2f}",
    "share": "{:.0%}",
    "paper_hours": "{:.2f}",
    "peak MiB": "{:,.0f}",
}


def extractor(info: dict, controls: dict, features: np.ndarray) -> None:
    """What the extractor was, with a banner where its weights are not trained, and how its outputs spread.

    info, controls and features as in koala.experiment.Inputs."""
    if is_untrained(info):
        why = (
            f"no ImageNet weights are available for {info['backbone']}" if info.get("reason") else "as asked"
        )
        warning = (
            f"UNTRAINED extractor ({why}): its features are a random function of the photograph, {info['weights']}. "
            "Every figure and table of this run says untrained."
        )
        display(tables.banner(warning))
        terminal.say(warning)
        print(info.get("reason", ""))
    print(f"extractor: {info['backbone']}, weights: {info['weights']}, sha256 {info['sha256'][:12] or '-'}")
    if "mean" in controls:
        print(
            f"centred: their mean over the training photographs, of length {np.linalg.norm(controls['mean']):.1f}, is taken off"
        )
    settings = {k: v for k, v in controls.items() if not isinstance(v, list | dict | np.ndarray)}
    print(
        f"features: {features.shape[0]:,} x {features.shape[1]:,}",
        *(f"{k} {v}" for k, v in settings.items()),
        sep=", ",
    )
    if features.shape[1]:
        sample = np.asarray(features[:2000], np.float32)
        print(f"mean {sample.mean():.3g}, standard deviation between photographs {sample.std(0).mean():.3g}")


def is_untrained(info: dict) -> bool:
    """Whether an extractor's description names weights that were never trained."""
    return provenance.remark(info["backbone"], info) == "untrained"


class Live:
    """Draws the losses so far after each epoch in place of the chart before, and says them in papermill's terminal.

    info: of the extractor whose features are used, if any."""

    def __init__(self, info: dict | None = None):
        self.untrained, self.handle = info is not None and is_untrained(info), None

    def __call__(self, history: list[dict]) -> None:
        last = history[-1]
        losses = f"training loss {last['train_loss']:.5f}, validation loss {last['val_loss']:.5f}"
        terminal.say(f"epoch {last['epoch']}: {losses}")
        picture = charts.show_svg(charts.live_curve(pd.DataFrame(history), self.untrained))
        if self.handle is None:
            self.handle = display(picture, display_id=True)
        else:
            self.handle.update(picture)


def method_rows(run: artefacts.Run, name: str) -> list[dict]:
    """Held-out means of the trivial baselines, of the run (`name`) and of the truth: one dict per method."""
    mean = artefacts.means(run.per_image)
    truth = {
        "colourfulness": mean.loc["model", "colourfulness_true"],
        "chroma_ratio": 1.0,
        "ciede2000": 0.0,
        "ab_rmse": 0.0,
        "ssim": 1.0,
        "auc": 1.0,
    }
    lines = [(text, mean.loc[key]) for key, text in baselines.METHODS.items() if key in mean.index]
    lines += [(name, mean.loc["model"]), (tables.TRUTH, truth)]
    return [{"method": label, **tables.numbers(values)} for label, values in lines]


def methods(run: artefacts.Run) -> HTML:
    """Table of the run beside the trivial baselines, on the held-out photographs; in papermill's terminal its gist."""
    terminal.say(gist(run))
    count = run.result["photographs"]["test"]
    note = f"{count:,} photographs of the test split; means over photographs. {tables.READING}"
    warning = tables.banner(tables.DEMO, "demo").data if run.env["data"]["name"] == "photos" else ""
    return HTML(warning + tables.table(method_rows(run, run_label(run))).data + f'<p class="note">{note}</p>')


def gist(run: artefacts.Run) -> str:
    """The result in a line, beside what needs no network, with where it is kept and how to look at it."""
    mean = artefacts.means(run.per_image)["ciede2000"]
    beside = ", ".join(f"{metrics.BASELINES[key]} {mean[key]:.2f}" for key in ("gray", "lightness"))
    lines = [
        f"{run_label(run)}: CIEDE2000 {mean['model']:.2f} on held-out photographs ({beside}; lower is better)"
    ]
    if run.env["data"]["name"] == "photos":
        lines.append(tables.DEMO)
    lines.append(f"run: {run.folder}")
    if out := terminal.output_notebook():
        lines.append(f"to look at it: {os.path.relpath(sys.executable)} -m koala.report html {out}")
    return "\n".join(lines)


def run_label(run: artefacts.Run) -> str:
    """Readable name of a run that never hides what its extractor's weights are."""
    config = run.config
    parts = [config["backbone"] if config["backbone"] != "none" else "no extractor", config["loss"]]
    if config["network"] == "pyramid":
        parts[0] = f"pyramid of {parts[0]}"
    if config["feature_dims"]:
        parts.append(f"{config['feature_dims']} dimensions")
    if config["centre_features"]:
        parts.append("centred features")
    if config["train_images"]:
        parts.append(f"{config['train_images']:,} training photographs")
    if config["feature_source"] != "image":
        parts.append(f"{config['feature_source']} features")
    return ", ".join(parts) + f" ({run.remark})" * bool(run.remark)


def ranked_grid(run: artefacts.Run, photos):
    """Gray, model and truth for the run's best, median and worst photographs: a figure."""
    shown = artefacts.load_pictures(run)
    error = run.per_image[run.per_image.method == "model"].set_index("row")["ciede2000"]
    names = [name for name in ("best", "median", "worst") for _ in shown[f"{name}_rows"]]
    numbers = np.concatenate([shown[f"{name}_rows"] for name in ("best", "median", "worst")])
    coloured = np.concatenate([shown[name] for name in ("best", "median", "worst")])
    truth = at_size(photos.images, numbers, coloured.shape[1])
    columns = {"input": gray(truth), run_label(run): coloured, "truth": truth}
    return pictures.grid(
        columns,
        [f"{name}, dE {error[number]:.1f}" for name, number in zip(names, numbers, strict=True)],
        "Held-out photographs by rank",
    )


def seen_and_held_out(run: artefacts.Run, inputs, device) -> pictures.Photographs:
    """Photographs of the training split beside held-out ones, coloured by the run: this shows what it has learnt by heart.

    inputs: koala.experiment.Inputs."""
    rows = {"seen in training": inputs.rows["train"][:SHOWN], "held out": inputs.rows["test"][:SHOWN]}
    chosen = np.concatenate(list(rows.values()))
    job = trained_job(run, inputs, device)
    coloured = np.concatenate([evaluate.coloured(job, members) for members in rows.values()])
    truth = at_size(inputs.photos.images, chosen, coloured.shape[1])
    captions = [name for name, members in rows.items() for _ in members]
    return pictures.grid({"input": gray(truth), run_label(run): coloured, "truth": truth}, captions, SEEN)


def gray(images: np.ndarray) -> np.ndarray:
    """(N,S,S,3) uint8 -> the same photographs with a* = b* = 0, which is what the encoder sees."""
    Lab = lab.rgb_to_lab(torch.from_numpy(images).permute(0, 3, 1, 2))
    Lab[:, 1:] = 0
    return lab.lab_to_rgb(Lab).permute(0, 2, 3, 1).numpy()


def strongest_classes(outputs: np.ndarray, files: pd.DataFrame, layer: str) -> list[dict]:
    """The ImageNet classes with the largest logits of each photograph (none where the layer is features)."""
    if layer == "features" or outputs.shape[1] != 1000:
        return [{"photograph": path, "classes": "this layer has no class names"} for path in files.path]
    from torchvision.models import EfficientNet_B0_Weights

    names = EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"]
    shares = torch.from_numpy(np.asarray(outputs, np.float32)).softmax(1)
    rows = []
    for path, share in zip(files.path, shares, strict=True):
        value, index = share.topk(CLASSES)
        rows.append(
            {"photograph": path, "classes": ", ".join(names[i] for i in index), "share": value[0].item()}
        )
    return rows


def fusion_terms(run: artefacts.Run, final: dict) -> HTML:
    """The encoder's and the embedding's terms by epoch on validation photographs, and at the end on test photographs."""
    names = ["encoder_term", "embedding_term"]
    shown = pd.DataFrame([final])[names].assign(epoch="trained, test split")
    if set(names) <= set(run.history):
        shown = pd.concat([run.history[["epoch", *names]], shown])
    shown = shown.assign(ratio=shown.embedding_term / shown.encoder_term)[["epoch", *names, "ratio"]]
    shown.columns = ["epoch", "encoder", "embedding", "embedding / encoder"]
    return tables.table(shown, dict.fromkeys(shown.columns[1:], "{:.3g}"))


def describe(painter) -> None:
    """What a koala.colorize.Painter was trained on, with a banner where its extractor is untrained."""
    if is_untrained(painter.weights):
        display(tables.banner("This network was trained with an UNTRAINED extractor."))
    config = painter.config
    print(
        f"network: {config.network} with {config.backbone}, {config.loss}; trained at {config.image_size} px on "
        f"'{config.dataset}' ({config.epochs} epochs); sees photographs with {painter.size} px on the shorter side"
    )
    print(f"extractor's weights: {painter.weights['weights']}")


def coloured_grid(outcomes: list):
    """koala.colorize.Outcomes -> gray, coloured, and the originals where any has colours: a grid with captions beside it."""
    shown = [outcome for outcome in outcomes if outcome.after is not None]
    before, after = (np.stack([getattr(outcome, name) for outcome in shown]) for name in ("before", "after"))
    columns = {"gray": gray(before), "coloured": after}
    if any(outcome.numbers for outcome in shown):
        columns["as it was"] = before
    return pictures.grid(columns, [_caption(outcome) for outcome in shown])


def _caption(outcome) -> str:
    numbers = "\nCIEDE2000 {ciede2000:.1f}, left gray {gray:.1f}" if outcome.numbers else ""
    return outcome.source.name + numbers.format(**outcome.numbers)
