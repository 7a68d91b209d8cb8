"""Recipes: settings of runs that are known to work, one TOML file each, in the form of a run's ``config.toml``."""

from collections.abc import Iterator
from importlib.resources import as_file, files
from typing import Any

from fastnn.config import Config, read_toml
from fastnn.errors import ConfigError
from fastnn.settings import nearest

FOLDER = files(__name__)


def names() -> list[str]:
    """The names of all recipes, in the order of the alphabet."""
    return sorted(entry.name.removesuffix(".toml") for entry in FOLDER.iterdir() if entry.name.endswith(".toml"))


def read(name: str) -> dict[str, Any]:
    """The settings of a recipe.

    Parameters
    ----------
    name : str
        One of `names`.

    Returns
    -------
    dict of leaf to value
        For `Config.of`.

    Raises
    ------
    ConfigError
        There is no such recipe.
    """
    if name not in names():
        raise ConfigError(f"there is no recipe {name!r}{nearest(name, names())}; see them by: fastnn recipes")
    with as_file(FOLDER / f"{name}.toml") as path:
        return read_toml(path)


def configs() -> Iterator[tuple[str, Config]]:
    """Each recipe's name, and its settings over the defaults."""
    for name in names():
        yield name, Config.of(read(name))
