"""``fastnn recipes`` and ``fastnn train --recipe``."""

from fastnn import recipes
from fastnn.config import read_toml


def test_each_recipe_has_a_line(fastnn):
    code, out, err = fastnn("recipes")
    assert (code, err) == (0, "")
    for name in recipes.names():
        assert f" {name} " in out


def test_a_recipe_is_trained_and_options_win(train, tmp_path):
    code, _, _ = train("--recipe", "d", "--data-seed", 3)
    assert code == 0
    values = read_toml(tmp_path / "run" / "config.toml")
    assert values["network.weight_init"] == "normal(1.0)"
    assert values["optimizer.learning_rate"] == 3.0
    assert values["network.hidden"] == (5,)
    assert values["data.seed"] == 3


def test_a_recipe_and_a_file_are_refused_together(refused, tmp_path):
    assert "give one of them" in refused("train", "--recipe", "d", "--config", tmp_path / "c.toml")


def test_an_unknown_recipe(refused):
    assert "did you mean default?" in refused("train", "--recipe", "defaults")


def test_rows_beyond_the_data(refused, table):
    assert "has 60 training rows, not 61" in refused("train", "--data", table, "--rows", 61)
