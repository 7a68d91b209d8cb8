"""`fastnn gradcheck`: a table of checks, and exit code 1 if one fails."""

import re

import pytest

from fastnn.kernels import functions
from fastnn.optimizers import OPTIMIZERS


def test_layers_of_the_users_own(fastnn, table):
    words = ["--hidden", "5,4", "--activation", "elu,tanh", "--dropout", "0.1", "--seed", 3]
    code, out, err = fastnn("gradcheck", "--data", table, *words)
    assert (code, err) == (0, "")
    for part in ("dense elu", "reference against differences", "fused against reference", "layers.2.bias"):
        assert part in out
    for name in OPTIMIZERS:
        assert f" {name} " in out
    assert out.endswith("all 18 checks passed\n")


def test_a_wrong_gradient_is_found(fastnn, table, monkeypatch):
    value, _ = functions.ACTIVATIONS["tanh"]
    monkeypatch.setitem(functions.ACTIVATIONS, "tanh", (value, lambda z, alpha: 1 - z * z))
    code, out, _ = fastnn("gradcheck", "--data", table, "--hidden", 5, "--activation", "tanh")
    assert code == 1
    assert "FAILED" in out
    assert "checks failed" in out
    assert re.search(r"layers\.0\.weight\[\d+, \d+\]: \S+, but \S+ is expected", out)


@pytest.mark.parametrize("words", [["--epochs", 3], ["--optimizer", "sgd"]])
def test_settings_of_training_are_not_taken(fastnn, table, words):
    assert fastnn("gradcheck", "--data", table, *words)[0] == 2
