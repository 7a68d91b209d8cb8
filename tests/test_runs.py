"""Data, network and folder of a run, without the command line (which tests/cli walks through)."""

import numpy as np
import pytest

from fastnn.config import Config
from fastnn.data import Dataset
from fastnn.errors import ConfigError, OutputError
from fastnn.layers import Dense, Dropout, Input
from fastnn.runs import Parts, Run, build


@pytest.fixture
def source(tmp_path):
    """100 training and 20 test rows, each with its own number as feature."""
    y = np.arange(120) % 2
    x = np.arange(120, dtype=np.float32)[:, None]
    np.savez(tmp_path / "s.npz", x_train=x[:100], y_train=y[:100], x_test=x[100:], y_test=y[100:])
    return tmp_path / "s.npz"


def parts_of(source, **data):
    return Parts.of(Config.of({"data.source": str(source), **{f"data.{name}": value for name, value in data.items()}}))


def numbers(*sets):
    return [set(part.X[:, 0].astype(int).tolist()) for part in sets]


def test_the_own_test_set_and_a_part_to_validate_on(source):
    parts = parts_of(source, validation=0.2)
    train, validation, test = numbers(parts.train, parts.validation, parts.test)
    assert test == set(range(100, 120))
    assert len(validation) == 20
    assert train | validation == set(range(100))
    assert not train & validation


def test_a_part_to_test_on_comes_from_the_training_rows(source):
    parts = parts_of(source, test=0.25, validation=0)
    train, test = numbers(parts.train, parts.test)
    assert parts.validation is None
    assert (len(train), len(test)) == (75, 25)
    assert train | test == set(range(100))


def test_without_a_test_set_a_sixth_is_held_out(tmp_path):
    np.savez(tmp_path / "s.npz", X=np.arange(60.0)[:, None], y=np.arange(60) % 2)
    assert len(parts_of(tmp_path / "s.npz", validation=0).test) == 10


def test_the_data_seed_alone_decides_what_is_held_out(source):
    first, again = parts_of(source, seed=1).validation, parts_of(source, seed=1).validation
    other = parts_of(source, seed=2).validation
    np.testing.assert_array_equal(first.X, again.X)
    assert numbers(first) != numbers(other)


def test_the_network_fits_the_data_and_knows_it(source):
    parts = parts_of(source, validation=0)
    config = Config.of({"network.hidden": [3], "network.dropout": 0.5, "data.scale": "minmax", "training.seed": 4})
    network = build(config, parts)
    inputs, *others = network.layers
    assert isinstance(inputs, Input)
    np.testing.assert_allclose(np.multiply(inputs.scale, [0, 99]) + inputs.shift, [0, 1], atol=1e-12)
    assert others == [Dense(3, "relu"), Dropout(0.5), Dense(2, "softmax")]
    assert network.seed == 4
    assert network.metadata["classes"] == ("0", "1")
    assert network.metadata["settings"]["network.hidden"] == (3,)


def test_the_scale_is_that_of_the_training_rows_alone():
    train = Dataset(np.float32([[0], [2]]), np.array([0, 1]), ("a", "b"))
    test = Dataset(np.float32([[0], [200]]), np.array([0, 1]), ("a", "b"))
    network = build(Config.of({"data.scale": "minmax"}), Parts(train, test, test))
    np.testing.assert_allclose(np.ravel(network.layers[0].scale), [0.5])


def test_targets_of_a_regression_are_outputs():
    train = Dataset(np.float32([[0], [1]]), np.float32([[0.5, 1], [2, 3]]))
    assert build(Config(), Parts(train, None, train)).layers[-1] == Dense(2, "identity")


def test_a_loss_that_is_named_is_used(source):
    parts = parts_of(source)
    assert build(Config.of({"network.loss": "quadratic"}), parts).loss == "quadratic"


def test_augmentation_without_pictures_is_refused_at_once(source):
    with pytest.raises(ConfigError, match="image"):
        build(Config.of({"augment.rotate": 10}), parts_of(source))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"data.source": "a/b/My Digits.v2.csv"}, "My-Digits"),
        ({"report.title": "A title: with/odd ünd words"}, "A-title-with-odd-nd-words"),
        ({"report.title": "../.."}, "run"),
        ({}, "mnist"),
    ],
)
def test_the_name_of_the_default_folder_is_harmless(tmp_path, monkeypatch, settings, name):
    monkeypatch.chdir(tmp_path)
    run = Run.create(Config.of(settings))
    assert run.folder.parent.name == "runs"
    assert run.folder.name[11:] == name


def test_a_folder_of_the_user_may_hold_other_things(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    run = Run.create(Config(), tmp_path)
    assert run.settings.exists()
    run.remove_if_empty()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "last.safetensors").write_bytes(b"")
    with pytest.raises(OutputError, match=r"holds a run already \(last\.safetensors\)"):
        Run.create(Config(), tmp_path)


def test_a_model_without_a_checkpoint_keeps_its_settings(tmp_path):
    run = Run.create(Config(), tmp_path / "run")
    run.model.write_bytes(b"the disk was full before last.safetensors was written")
    run.remove_if_empty()
    assert run.settings.exists()
    assert run.model.exists()
