"""The table of settings: what it takes, what it refuses, and that nothing is lost on the way to a file and back."""

import math
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnn.augment import Augment
from fastnn.config import LEAVES, SECTIONS, Config, read_toml
from fastnn.errors import ConfigError
from fastnn.layers import Dense, Dropout, Input
from fastnn.optimizers import OPTIMIZERS, Adam
from fastnn.schedules import SCHEDULES, Adaptive


def write(folder, content):
    path = folder / "run.toml"
    path.write_text(content)
    return path


# ---------------------------------------------------------------- the table


def test_defaults_are_a_whole_config():
    config = Config()
    assert config.network.hidden == (300,)
    assert config.optimizer.learning_rate == 0.002
    assert config == Config.of()


@pytest.mark.parametrize("section", ["optimizer", "schedule", "augment"])
def test_each_setting_of_an_optimizer_schedule_or_augmentation_is_a_leaf(section):
    kinds = {"optimizer": OPTIMIZERS.values(), "schedule": SCHEDULES.values(), "augment": [Augment]}[section]
    needed = {item.name for kind in kinds for item in fields(kind)}
    assert needed == {leaf.name for leaf in SECTIONS[section].leaves()} - {"name"}


def test_no_two_leaves_share_an_option():
    options = [leaf.option for leaf in LEAVES.values()]
    assert len(set(options)) == len(options)


def test_options_are_named_as_the_leaves_but_where_two_sections_share_a_name():
    other = {str(leaf): leaf.option for leaf in LEAVES.values() if leaf.option != "--" + leaf.name.replace("_", "-")}
    assert other == {
        "data.source": "--data",
        "data.seed": "--data-seed",
        "optimizer.name": "--optimizer",
        "schedule.name": "--schedule",
        "schedule.patience": "--schedule-patience",
        "augment.scale": "--augment-scale",
    }


# ---------------------------------------------------------------- to a file and back

finite = st.floats(0, 0.99).map(abs)
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
activations = st.sampled_from(["relu", "tanh", "leaky_relu(0.2)"])


@st.composite
def settings(draw):
    """Any settings that do not contradict each other."""
    hidden = draw(st.lists(st.integers(1, 2000), max_size=3))
    each = {"min_size": len(hidden), "max_size": len(hidden)}
    name, schedule = draw(st.sampled_from(list(OPTIMIZERS))), draw(st.sampled_from(list(SCHEDULES)))
    found = {
        "data.source": draw(texts.filter(lambda text: not _is_number(text))),
        "data.label": draw(st.integers() | texts),
        "data.test": draw(st.just("auto") | st.floats(0.01, 0.99) | st.just("a b.csv")),
        "data.validation": draw(finite | st.just("held out.csv")),
        "data.seed": draw(st.integers(0, 2**64 - 1)),
        "network.hidden": hidden,
        "network.activation": draw(activations | st.lists(activations, **each)),
        "network.dropout": draw(finite | st.lists(finite, **each)) if hidden else 0,
        "network.weight_init": draw(st.sampled_from(["he_normal", "uniform(-0.5, 0.5)"])),
        "training.epochs": draw(st.integers(1, 2**40)),
        "training.threads": draw(st.just("auto") | st.integers(1, 64)),
        "training.weight_decay": draw(st.floats(0, 1e300)),
        "optimizer.name": name,
        "schedule.name": schedule,
        "augment.elastic": draw(st.sampled_from([[], [34, 4]])),
        "report.title": draw(texts),
        "report.expect_accuracy": draw(st.floats(0, 1)),
    }
    if draw(st.booleans()):
        found["data.image"] = [draw(st.integers(1, 99)), draw(st.integers(1, 99))]
    if draw(st.booleans()):
        found["optimizer.learning_rate"] = draw(st.floats(1e-300, 1e300))
    if schedule == "adaptive":
        found["schedule.patience"] = draw(st.integers(1, 9))
    return found


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


@given(settings())
def test_a_config_survives_its_file(tmp_path_factory, values):
    config = Config.of(values)
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_bytes(config.to_toml().encode())
    assert Config.of(read_toml(path)) == config


def test_the_file_holds_every_setting_of_what_is_chosen(tmp_path):
    path = write(tmp_path, Config.of({"optimizer.name": "adam", "schedule.name": "adaptive"}).to_toml())
    values = read_toml(path)
    assert {name: value for name, value in values.items() if name.startswith("optimizer.")} == {
        "optimizer.name": "adam",
        "optimizer.learning_rate": 0.002,
        "optimizer.beta1": 0.9,
        "optimizer.beta2": 0.999,
        "optimizer.epsilon": 1e-8,
    }
    assert values["schedule.patience"] == 2


# ---------------------------------------------------------------- precedence


def test_later_layers_win_and_defaults_fill_in():
    config = Config.of({"training.epochs": 3, "training.seed": 4}, {"training.epochs": 5})
    assert (config.training.epochs, config.training.seed, config.training.batch_size) == (5, 4, 64)


def test_another_optimizer_lets_go_of_the_settings_of_the_one_before_it():
    file = {"optimizer.name": "adam", "optimizer.beta1": 0.8, "optimizer.learning_rate": 0.7}
    assert Config.of(file, {"optimizer.name": "rmsprop"}).optimizer.make() == OPTIMIZERS["rmsprop"]()
    assert Config.of(file, {"optimizer.name": "adam"}).optimizer.make() == Adam(0.7, 0.8)


def test_made_objects_have_the_settings():
    config = Config.of(
        {"optimizer.name": "adam", "optimizer.beta1": 0.5, "schedule.name": "adaptive", "schedule.factor": 0.2},
        {"augment.scale": 0.1},
    )
    assert config.optimizer.make() == Adam(0.002, beta1=0.5)
    assert config.schedule.make() == Adaptive(factor=0.2)
    assert config.augment.make() == Augment(scale=0.1)
    assert Config().augment.make() is None


# ---------------------------------------------------------------- the layers


def test_layers_with_one_activation_and_dropout_for_all():
    network = Config.of({"network.hidden": [5, 4], "network.activation": "tanh", "network.dropout": 0.5}).network
    assert network.stack(7, 3, classes=True, scale=2.0) == [
        Input(7, 2.0),
        Dense(5, "tanh"),
        Dropout(0.5),
        Dense(4, "tanh"),
        Dropout(0.5),
        Dense(3, "softmax"),
    ]


def test_layers_with_one_activation_and_dropout_each():
    network = Config.of(
        {"network.hidden": [5, 4], "network.activation": ["tanh", "elu"], "network.dropout": [0, 0.25]}
    ).network
    assert network.stack(7, 1, classes=False) == [
        Input(7),
        Dense(5, "tanh"),
        Dense(4, "elu"),
        Dropout(0.25),
        Dense(1, "identity"),
    ]


@pytest.mark.parametrize(
    ("output", "loss", "classes", "activation"),
    [
        ("auto", "auto", True, "softmax"),
        ("auto", "auto", False, "identity"),
        ("auto", "binary_cross_entropy", True, "sigmoid"),
        ("auto", "quadratic", True, "sigmoid"),
        ("auto", "quadratic", False, "identity"),
        ("tanh", "auto", True, "tanh"),
    ],
)
def test_the_output_goes_with_task_and_loss(output, loss, classes, activation):
    network = Config.of({"network.output": output, "network.loss": loss}).network
    assert network.stack(2, 2, classes=classes)[-1] == Dense(2, activation)


def test_paths_become_absolute_and_words_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = Config.of({"data.source": "a.csv", "data.validation": "../b.csv"}).absolute().data
    assert (values.source, values.validation) == (str(tmp_path / "a.csv"), str(tmp_path.parent / "b.csv"))
    assert Config().absolute() == Config()


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"training.epochs": 0}, r"training\.epochs must be a whole number at least 1, not 0"),
        ({"training.epochs": 1.5}, r"training\.epochs must be a whole number"),
        ({"training.epochs": True}, r"training\.epochs must be a whole number"),
        ({"training.epochs": None}, r"training\.epochs must be a whole number"),
        ({"training.seed": -1}, r"training\.seed must be a whole number from 0"),
        ({"training.seed": 2**64}, r"training\.seed must be a whole number from 0"),
        ({"training.weight_decay": math.nan}, r"training\.weight_decay must be a number at least 0"),
        ({"training.weight_decay": 10**400}, r"training\.weight_decay must be a number at least 0"),
        ({"training.backend": "gpu"}, r"training\.backend must be fused or reference, not 'gpu'"),
        ({"network.hidden": [300, 0]}, r"network\.hidden must be auto or whole numbers"),
        ({"network.activation": "softmax"}, r"network\.activation must be an activation of hidden layers"),
        ({"network.activation": ["relu", "tanh"]}, r"network\.activation has 2 values for 1 hidden layers"),
        ({"network.weight_init": "wild"}, r"network\.weight_init: unknown initializer 'wild'; choose one of he_normal"),
        ({"network.bias_init": "he_normal"}, r"network\.bias_init: a bias cannot start from he_normal"),
        ({"network.hidden": [], "network.dropout": 0.5}, r"network\.dropout stands behind the hidden layers"),
        ({"network.output": "relu", "network.loss": "cross_entropy"}, "cross_entropy needs the output activation"),
        ({"network.output": "softmax", "network.loss": "quadratic"}, "softmax needs the loss cross_entropy"),
        ({"data.validation": 1.5}, r"data\.validation must be a number at least 0 and below 1 or a path, not 1\.5"),
        ({"data.validation": "1.5"}, r"data\.validation must be"),
        ({"data.test": 0}, r"data\.test must be auto or a number above 0 and below 1 or a path, not 0"),
        ({"data.image": [28]}, r"data\.image must be a height and a width"),
        ({"data.source": "\udcff"}, r"data\.source must be a path"),
        ({"optimizer.name": "newton"}, r"optimizer\.name must be one of sgd, momentum"),
        ({"optimizer.learning_rate": 0}, r"optimizer\.learning_rate must be a number above 0, not 0"),
        (
            {"optimizer.name": "sgd", "optimizer.beta1": 0.9},
            r"optimizer\.beta1: the optimizer sgd has no such setting; its settings are learning_rate$",
        ),
        (
            {"schedule.name": "constant", "schedule.k": 1},
            r"schedule\.k: the schedule constant has no such .*it has none",
        ),
        ({"augment.elastic": [1]}, r"augment\.elastic must be nothing, or two numbers, .*, not \[1\]"),
        ({"augment.elastic": [34, 0]}, r"augment\.elastic must be .* and sigma from 0\.1 to 1000, not \[34, 0\]"),
        ({"augment.scale": 1}, r"augment\.scale must be a number at least 0 and below 1"),
    ],
)
def test_bad_values_are_refused_with_their_name(values, message):
    with pytest.raises(ConfigError, match=message) as caught:
        Config.of(values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "[trainig]\nepochs = 1",
            r"no section \[trainig\] \(did you mean training\?\); the sections are data, network, training",
        ),
        ("epochs = 1", r"no section \[epochs\]"),
        (
            "[training]\nepoch = 1",
            r"no training\.epoch \(did you mean training\.epochs\?\); the section training has epochs, batch_size",
        ),
        ("[training]\nepochs = 'ten'", r"training\.epochs must be a whole number at least 1, not 'ten'"),
        ("[training]\nepochs = ", "is not a TOML file"),
        ("[training]\nepochs = 1\nepochs = 2", "is not a TOML file"),
    ],
)
def test_bad_files_are_refused_with_their_name(tmp_path, content, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read_toml(write(tmp_path, content))
    assert "run.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*missing\.toml: No such file"):
        read_toml(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="cannot read"):
        read_toml(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not a TOML file"):
        read_toml(tmp_path / "binary.toml")


def test_a_scale_may_be_written_as_a_number(tmp_path):
    assert read_toml(write(tmp_path, "[data]\nscale = 255")) == {"data.scale": "255"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"network.activation": "rel"}, r"network\.activation.*did you mean relu\?"),
        ({"network.weight_init": "he_norml"}, r"network\.weight_init.*did you mean he_normal\?"),
    ],
)
def test_a_value_that_is_nearly_one_is_told(values, message):
    with pytest.raises(ConfigError, match=message):
        Config.of(values)
