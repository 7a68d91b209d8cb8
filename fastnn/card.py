"""The model card: what a model is, what it was trained on, and how good it is, in Markdown from the run's own figures.

After Mitchell et al.: "Model cards for model reporting", 2019.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fastnn.network import Network

SETTINGS = (
    *("training.epochs", "training.batch_size", "optimizer.name", "optimizer.learning_rate", "schedule.name"),
    *("training.weight_decay", "training.label_smoothing", "network.dropout", "training.seed"),
)


def card(network: Network, summary: Mapping[str, Any], data: str, name: str = "model.safetensors") -> str:
    """The text.

    Parameters
    ----------
    network : Network
        With the run's settings and metrics in its metadata.
    summary : mapping
        What summary.json holds.
    data : str
        What the model was trained and judged on, in a few words.
    name : str
        The model's file.
    """
    about, net = network.metadata, network.architecture
    settings = about.get("settings") or {}
    classes = about.get("classes")
    what = "predicts numbers"
    if classes:
        names = [*classes[:20], *(["…"] if len(classes) > 20 else [])]
        what = f"tells {len(classes)} classes apart: {', '.join(names)}"
    rows = [("set", "accuracy", "loss")]
    for part, label in (("val", "validation"), ("test", "test")):
        if summary.get(f"{part}_loss") is not None:
            accuracy = summary.get(f"{part}_accuracy")
            rows.append((label, "" if accuracy is None else f"{accuracy:.2%}", f"{summary[f'{part}_loss']:.4f}"))
    image = about.get("image")
    return "\n".join(
        [
            f"# {' – '.join(map(str, net.widths))}",
            "",
            f"A multilayer perceptron with {net.parameters:,} parameters that {what}.",
            "",
            "```text",
            str(network),
            "```",
            "",
            "## Data",
            "",
            data.replace("\n", "; ") + (f"; images of {image[0]} x {image[1]} pixels" if image else "") + ".",
            "Inputs are raw: their scaling is part of the model.",
            "",
            "## Results",
            "",
            *_table(rows),
            "",
            f"The weights are those of epoch {summary['best_epoch']} of {summary['epochs']}"
            + (", the best by validation." if summary.get("val_loss") is not None else "."),
            "",
            "## Training",
            "",
            *_table([("setting", "value"), *((key, str(settings[key])) for key in SETTINGS if key in settings)]),
            "",
            f"{summary['train_seconds']:.1f} s on {summary['threads']} thread(s), {summary['backend']} backend; "
            + ", ".join(f"{key} {value}" for key, value in summary["versions"].items())
            + ".",
            "",
            "## Use",
            "",
            "```python",
            "import fastnn",
            "",
            f'net = fastnn.load("{name}")',
            f"net.predict(X)  # X: raw rows of {net.widths[0]} features",
            "```",
            "",
            "It knows data like those above. What differs from them, by source, time or maker, is untried.",
            "",
        ]
    )


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]
