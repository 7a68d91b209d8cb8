"""The model card says what the run found, and nothing else."""

from fastnn import MLP
from fastnn.card import card

SUMMARY = {
    "test_accuracy": 0.9,
    "test_loss": 0.25,
    "val_accuracy": 0.95,
    "val_loss": 0.125,
    "best_epoch": 3,
    "epochs": 5,
    "train_seconds": 1.25,
    "threads": 2,
    "backend": "fused",
    "versions": {"fastnn": "0"},
}


def test_a_classifier():
    net = MLP.from_sizes([4, 3])
    net.metadata = {"classes": ["a", "b", "c"], "image": [2, 2], "settings": {"training.epochs": 5}}
    text = card(net, SUMMARY, "digits: 4 features\n10 examples")
    for words in (
        *("tells 3 classes apart: a, b, c.", "digits: 4 features; 10 examples; images of 2 x 2 pixels."),
        *("| validation | 95.00% | 0.1250 |", "| test | 90.00% | 0.2500 |", "epoch 3 of 5, the best by validation."),
        *("| training.epochs | 5 |", "1.2 s on 2 thread(s)", "raw rows of 4 features"),
    ):
        assert words in text


def test_a_regression_without_validation():
    net = MLP.from_sizes([4, 1], output="identity")
    net.metadata = {"classes": None}
    text = card(net, SUMMARY | {"val_loss": None, "test_accuracy": None}, "data")
    assert "predicts numbers" in text
    assert "| test |  | 0.2500 |" in text
    assert "by validation" not in text
