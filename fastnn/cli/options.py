"""The settings of config.py as options of the command line."""

import argparse
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

from fastnn import recipes
from fastnn.config import LEAVES, SECTIONS, Config, read_toml
from fastnn.errors import ConfigError
from fastnn.leaves import Leaf
from fastnn.settings import nearest


def add_options(parser: argparse.ArgumentParser, names: Iterable[str] = LEAVES) -> None:
    """Give a command an option for each leaf, in a group for each section.

    Parameters
    ----------
    parser : ArgumentParser
    names : iterable of str
        Leaves such as ``"training.epochs"``, those of a section in a row; all by default.
    """
    defaults = Config().values()
    for section, leaves in groupby((LEAVES[name] for name in names), key=lambda leaf: leaf.section):
        group = parser.add_argument_group(section, SECTIONS[section].__doc__)
        if section == "augment":
            group.add_argument("--augment", type=_augment, metavar="NAME=NUMBER,...", default=argparse.SUPPRESS,
                               help='several of these at once, such as "shift=4,rotate=20,elastic=34/4"')  # fmt: skip
        for leaf in leaves:
            default = defaults.get(str(leaf))
            group.add_argument(
                leaf.option,
                dest=str(leaf),
                type=_reader(leaf),
                metavar=leaf.kind.metavar,
                default=argparse.SUPPRESS,
                help=leaf.help + (f" (default: {_words(default)})" if default is not None else ""),
            )


def add_source(parser: argparse.ArgumentParser) -> None:
    """Give a command the options that name settings as a whole."""
    parser.add_argument(
        "--recipe", metavar="NAME", help="settings that come with fastnn (see fastnn recipes); options win"
    )
    parser.add_argument("--config", metavar="FILE", help="settings in TOML, such as a run's config.toml; options win")


def config_of(options: argparse.Namespace) -> Config:
    """The settings of a recipe or file, if one is named, and over them what the command line sets.

    Raises
    ------
    ConfigError
        Both are named, one cannot be read, or the settings contradict each other; those of a file alone, with its name.
    """
    if options.config and options.recipe:
        raise ConfigError("--recipe and --config are settings both: give one of them, and options over it")
    found = recipes.read(options.recipe) if options.recipe else {}
    if options.config:
        found = read_toml(options.config)
    try:
        return Config.of(found, given_options(options))
    except ConfigError:
        if options.config:
            _blame(options.config, found)
        raise


def _blame(path: str, found: dict[str, Any]) -> None:
    """ConfigError with the file's name if what it holds is wrong without any option."""
    try:
        Config.of(found)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def given_options(options: argparse.Namespace) -> dict[str, Any]:
    """The leaves that the command line sets, and what it sets them to: for `Config.of`."""
    given = {name: value for name, value in vars(options).items() if name in LEAVES}
    return {**getattr(options, "augment", {}), **given}


def _augment(words: str) -> dict[str, Any]:
    """What ``--augment`` says in one word: ``shift=4,rotate=20,elastic=34/4``."""
    found = {}
    known = [leaf.name for leaf in SECTIONS["augment"].leaves()]
    for item in words.split(","):
        name, _, value = item.partition("=")
        if name.strip() not in known or not value:
            raise argparse.ArgumentTypeError(
                f"must be such as shift=4,rotate=20,elastic=34/4, of {', '.join(known)}; not {item!r}"
                + nearest(name.strip(), known)
            )
        leaf = LEAVES[f"augment.{name.strip()}"]
        try:
            found[str(leaf)] = _reader(leaf)(value.strip().replace("/", ","))
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{leaf.name} {error}") from None
    return found


def _reader(leaf: Leaf) -> Callable[[str], Any]:
    def read(words: str) -> Any:
        try:
            return leaf.kind.check(leaf.kind.parse(words))
        except ConfigError as error:  # it says more
            raise argparse.ArgumentTypeError(str(error)) from None
        except ValueError:
            hint = nearest(words, leaf.kind.names)
            raise argparse.ArgumentTypeError(f"must be {leaf.kind.says}, not {words!r}{hint}") from None

    return read


def _words(default: Any) -> str:
    return (",".join(map(str, default)) or "none") if isinstance(default, tuple) else str(default)
