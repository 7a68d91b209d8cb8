"""Recipes: each is whole, and says what to expect; a wrong name is answered with the nearest right one."""

import json
from pathlib import Path

import pytest

from fastnn import recipes
from fastnn.config import Config
from fastnn.errors import ConfigError
from fastnn.layers import Architecture

NAMES = recipes.names()


def test_there_are_those_that_are_promised():
    projects = {
        "a-sigmoid",
        "a-sigmoid-100",
        "a-dropout",
        "b",
        "b-augmented",
        "c",
        "d",
        "d-batch-100",
        "d-100",
        "d-100-scaled",
    }
    projects |= {"e-256-128-64", "e-128-32", "e-128", "e-32"}
    assert projects | {"default", "best-plain", "augmented", "speedrun"} == set(NAMES)
    assert sorted(path.stem for path in Path(recipes.__file__).parent.glob("*.toml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_is_whole(name):
    config = Config.of(recipes.read(name))
    report = config.report
    assert report.title == name
    assert report.claim
    assert report.expect_accuracy is not None
    assert report.expect_seconds is not None
    layers = config.network.stack(784, 10, classes=True, scale=1 / 255)
    Architecture.of(layers, None if config.network.loss == "auto" else config.network.loss)


def stored(name):
    return json.loads((Path(__file__).parents[1] / "bench_results" / name).read_text())


def test_what_each_promises_was_measured():
    # "at least" of a few digits: 0.0005 is their rounding. Seconds differ between machines and days; not by a factor 2.
    found = {row["claim"]["recipe"]: row for row in stored("reproduce/reproduce.json")["rows"]}
    found |= {name: stored("recipes.json")[name] for name in ("speedrun", "best-plain", "augmented")}
    headline = stored("headline.json")["figures"]
    mean, seconds = "main job, test accuracy, mean of seeds 0 to 4", "main job, seconds, median"
    found["default"] = {"accuracy": headline[mean], "seconds": headline[seconds]}
    assert set(found) == set(NAMES)
    for name, row in found.items():
        report = Config.of(recipes.read(name)).report
        assert abs(report.expect_accuracy - row["accuracy"]) <= 0.0005, name
        assert 0.5 < report.expect_seconds / row["seconds"] < 2, name


def test_the_default_recipe_is_what_train_does_when_nothing_is_said():
    values = Config.of(recipes.read("default")).values()
    assert {name: value for name, value in values.items() if not name.startswith("report.")} == Config().values()


@pytest.mark.parametrize(("name", "meant"), [("speedrum", "speedrun"), ("a_sigmoid", "a-sigmoid"), ("b ", "b")])
def test_an_unknown_one_is_answered_with_the_nearest(name, meant):
    with pytest.raises(ConfigError, match=rf"did you mean {meant}\?"):
        recipes.read(name)
    with pytest.raises(ConfigError, match=r"see them by: fastnn recipes$"):
        recipes.read("../../secret")
