"""Each leaf of the TOML form is an option, with the same checks."""

import pytest

from fastnn.cli import build_parser
from fastnn.cli.options import config_of, given_options
from fastnn.config import LEAVES, SECTIONS, Config
from fastnn.errors import ConfigError

# For each leaf: words that stand behind its option, and what they mean.
SAMPLES = {
    "data.source": ("some/folder", "some/folder"),
    "data.rows": ("42000", 42000),
    "data.label": ("-1", -1),
    "data.task": ("regression", "regression"),
    "data.image": ("28,14", (28, 14)),
    "data.scale": ("255", "255"),
    "data.test": ("0.25", 0.25),
    "data.validation": ("held.csv", "held.csv"),
    "data.seed": ("18446744073709551615", 2**64 - 1),
    "network.hidden": ("300, 100", (300, 100)),
    "network.activation": ("relu,leaky_relu(0.2)", ("relu", "leaky_relu(0.2)")),
    "network.output": ("sigmoid", "sigmoid"),
    "network.loss": ("quadratic", "quadratic"),
    "network.dropout": ("0.5,0", (0.5, 0.0)),
    "network.weight_init": ("uniform(-0.5, 0.5)", "uniform(-0.5, 0.5)"),
    "network.bias_init": ("constant(0.1)", "constant(0.1)"),
    "training.epochs": ("7", 7),
    "training.batch_size": ("0", 0),
    "training.backend": ("reference", "reference"),
    "training.threads": ("2", 2),
    "training.seed": ("3", 3),
    "training.weight_decay": ("1e-4", 1e-4),
    "training.clip_norm": ("1", 1.0),
    "training.label_smoothing": ("0.1", 0.1),
    "training.best_by": ("loss", "loss"),
    "training.patience": ("5", 5),
    "optimizer.name": ("adam", "adam"),
    "optimizer.learning_rate": ("0.01", 0.01),
    "optimizer.momentum": ("0.8", 0.8),
    "optimizer.rho": ("0.8", 0.8),
    "optimizer.beta1": ("0.8", 0.8),
    "optimizer.beta2": ("0.8", 0.8),
    "optimizer.epsilon": ("1e-6", 1e-6),
    "schedule.name": ("cosine", "cosine"),
    "schedule.every": ("4", 4),
    "schedule.factor": ("0.5", 0.5),
    "schedule.k": ("0.2", 0.2),
    "schedule.final": ("0.1", 0.1),
    "schedule.warmup": ("0.2", 0.2),
    "schedule.start": ("0.1", 0.1),
    "schedule.patience": ("3", 3),
    "schedule.tolerance": ("0.01", 0.01),
    "augment.shift": ("2", 2.0),
    "augment.rotate": ("15", 15.0),
    "augment.scale": ("0.1", 0.1),
    "augment.shear": ("10", 10.0),
    "augment.noise": ("0.01", 0.01),
    "augment.elastic": ("34,4", (34.0, 4.0)),
    "report.title": ("a title", "a title"),
    "report.claim": ("a claim", "a claim"),
    "report.expect_accuracy": ("0.98", 0.98),
    "report.expect_seconds": ("30", 30.0),
}


def parse(*words):
    return given_options(build_parser().parse_args(["train", *words]))


@pytest.mark.parametrize("name", LEAVES)
def test_each_leaf_is_an_option(name):
    words, value = SAMPLES[name]
    assert parse(LEAVES[name].option, words) == {name: value}


def test_nothing_is_given_that_was_not_said():
    assert parse() == {}


@pytest.mark.parametrize(
    ("option", "words", "value"),
    [("--hidden", "none", ()), ("--hidden", "10", (10,)), ("--label", "kind", "kind"), ("--threads", "auto", "auto")],
)
def test_words_and_single_values(option, words, value):
    assert list(parse(option, words).values()) == [value]


@pytest.mark.parametrize(
    ("option", "words", "message"),
    [
        ("--epochs", "ten", "argument --epochs: must be a whole number at least 1, not 'ten'"),
        ("--epochs", "0", "argument --epochs: must be a whole number at least 1, not '0'"),
        ("--hidden", "300,,100", "argument --hidden: must be auto or whole numbers of at least 1"),
        ("--optimizer", "newton", "argument --optimizer: must be one of sgd, momentum"),
        ("--weight-init", "wild", "argument --weight-init: unknown initializer 'wild'; choose one of he_normal"),
        ("--learning-rate", "nan", "argument --learning-rate: must be a number above 0, not 'nan'"),
        ("--image", "28", "argument --image: must be a height and a width, not '28'"),
        ("--seed", "1" * 5000, "argument --seed: must be a whole number from 0"),
        ("--epoch", "3", "unrecognized arguments: --epoch 3"),  # no abbreviations: they would change with new options
    ],
)
def test_bad_options_are_refused_by_name(option, words, message):
    with pytest.raises(ConfigError) as caught:
        parse(option, words)
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith("--help)")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[optimizer]\nname = 'sgd'\nmomentum = 0.9", "optimizer.momentum: the optimizer sgd has no such setting; its"),
        ("[schedule]\nname = 'cosine'\nk = 1", "schedule.k: the schedule cosine has no such setting; its settings are"),
        ("[network]\nactivation = ['relu', 'tanh']", "network.activation has 2 values for 1 hidden layers"),
    ],
)
def test_settings_of_a_file_that_contradict_each_other_are_refused_with_its_name(tmp_path, content, message):
    path = tmp_path / "x.toml"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        config_of(build_parser().parse_args(["train", "--config", str(path)]))
    assert str(caught.value).startswith(f"{path}: {message}")


def test_what_only_an_option_spoils_is_not_the_files_fault(tmp_path):
    (tmp_path / "x.toml").write_text("[optimizer]\nname = 'momentum'\nmomentum = 0.9")
    with pytest.raises(ConfigError, match=r"^optimizer\.rho: the optimizer momentum has no such setting"):
        config_of(build_parser().parse_args(["train", "--config", str(tmp_path / "x.toml"), "--rho", "0.9"]))


def test_help_has_a_group_for_each_section_with_its_options_and_defaults(capsys):
    with pytest.raises(SystemExit) as caught:
        parse("--help")
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    groups = dict(zip(SECTIONS, [shown.index(f"\n{section}:\n") for section in SECTIONS], strict=True))
    assert list(groups.values()) == sorted(groups.values())
    ends = [*list(groups.values())[1:], len(shown)]
    for (section, start), end in zip(groups.items(), ends, strict=True):
        for leaf in SECTIONS[section].leaves():
            assert f"  {leaf.option} " in shown[start:end]
    assert f"(default: {Config().training.batch_size})" in shown
