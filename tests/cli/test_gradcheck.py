"""`fastnn gradcheck`: a table of checks, and exit code 1 if one fails."""

import re

import pytest

from fastnn.kernels import functions, reference
from fastnn.optimizers import OPTIMIZERS

NUMBER = r"-?(0\.0*)?[1-9][\d.]{8,9}(e-\d\d)?"  # of nine digits


def test_layers_of_the_users_own(fastnn, table):
    words = ["--hidden", "5,4", "--activation", "elu,tanh", "--dropout", "0.1", "--seed", 3]
    code, out, err = fastnn("gradcheck", "--data", table, *words)
    assert (code, err) == (0, "")
    for part in ("dense elu", "reference against differences", "fused against reference", "layers.2.bias"):
        assert part in out
    for name in OPTIMIZERS:
        first = rf" {name} +layers\.\d\.(weight|bias) +{NUMBER} +{4 * 5 + 5 + 5 * 4 + 4 + 4 * 3 + 3} .* ok *\n"
        assert re.search(rf"{first} +\d+(, \d+)? +{NUMBER} *\n", out)
    assert re.search(rf"layers\.2\.bias +\d +{NUMBER} +3 .* ok *\n +{NUMBER} *\n", out)
    assert max(map(len, out.splitlines())) <= 80
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


def test_a_wrong_step_is_named_by_its_optimiser_and_array(fastnn, table, monkeypatch):
    monkeypatch.setitem(reference.UPDATES, "sgd", lambda p, g, *rest: None)
    code, out, _ = fastnn("gradcheck", "--data", table, "--hidden", 5)
    assert code == 1
    assert re.search(r"reference, sgd, layers\.\d\.(weight|bias)\[\d+(, \d+)?\]: \S+, but \S+ is expected", out)
    assert out.endswith("1 of 14 checks failed\n")
