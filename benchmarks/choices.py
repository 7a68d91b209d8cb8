"""How the settings of the best recipes were chosen: ``python -m benchmarks.choices`` (about half an hour).

Each recipe is trained beside alternatives, each of which differs in one thing, on 50,000 training images, and judged by
the last epoch on the other 10,000; the test set is not looked at. Prints the mean, lowest and highest validation
accuracy of the seeds, and stores them in bench_results/choices.json.
"""

import json
from pathlib import Path
from statistics import mean

from benchmarks import described
from fastnn import recipes
from fastnn.config import Config
from fastnn.files import write_atomically
from fastnn.kernels import backend
from fastnn.runs import Parts, build, fit

HELD_OUT = 1 / 6
STORE = Path(__file__).parents[1] / "bench_results" / "choices.json"
# recipe: seeds, and the alternatives
CHOICES = {
    "speedrun": (
        10,
        {
            "150 units": {"network.hidden": (150,)},
            "batch 128": {"training.batch_size": 128},
            "rate 0.06": {"optimizer.learning_rate": 0.06},
            "rate 0.2": {"optimizer.learning_rate": 0.2},
            "linear": {"schedule.name": "linear"},
        },
    ),
    "best-plain": (
        2,
        {
            "no dropout": {"network.dropout": 0.0},
            "dropout 0.2, 0.5": {"network.dropout": (0.2, 0.5)},
            "no weight decay": {"training.weight_decay": 0.0},
            "rate 0.001": {"optimizer.learning_rate": 0.001},
            "cosine": {"schedule.name": "cosine"},
        },
    ),
    "augmented": (
        1,
        {
            "no augmentation": dict.fromkeys(("augment.rotate", "augment.scale", "augment.shift"), 0.0)
            | {"augment.elastic": ()},
            "no elastic": {"augment.elastic": ()},
            "elastic alone": dict.fromkeys(("augment.rotate", "augment.scale", "augment.shift"), 0.0),
            "stronger affine": {"augment.rotate": 15.0, "augment.scale": 0.15, "augment.shift": 2.0},
            "rate 0.025": {"optimizer.learning_rate": 0.025},
        },
    ),
}


def row(name, changes, seeds):
    """Validation accuracies of the last epoch by seed."""
    accuracies = []
    for seed in range(seeds):
        over = {"data.validation": HELD_OUT, "training.seed": seed}
        config = Config.of(recipes.read(name), changes, over)
        parts = Parts.of(config)
        history = fit(config, build(config, parts), parts)
        accuracies.append(history["val_accuracy"][-1])
    return {"accuracy": mean(accuracies), "lowest": min(accuracies), "highest": max(accuracies)}


def main():
    """Train, print and store."""
    backend("fused").warm()
    found = {}
    for name, (seeds, others) in CHOICES.items():
        print(f"{name}, {seeds} seeds")
        found[name] = {}
        for label, changes in {"as it is": {}, **others}.items():
            found[name][label] = row(name, changes, seeds)
            print(
                "  {:<20}{accuracy:.2%}, {lowest:.2%} to {highest:.2%}".format(label, **found[name][label]), flush=True
            )
        write_atomically(STORE, json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    described(__doc__).parse_args()
    main()
