"""The settings of config.py as options of the command line."""

import argparse
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

from fastnn.config import LEAVES, SECTIONS, Config
from fastnn.errors import ConfigError
from fastnn.leaves import Leaf


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


def given_options(options: argparse.Namespace) -> dict[str, Any]:
    """The leaves that the command line sets, and what it sets them to: for `Config.of`."""
    return {name: value for name, value in vars(options).items() if name in LEAVES}


def _reader(leaf: Leaf) -> Callable[[str], Any]:
    def read(words: str) -> Any:
        try:
            return leaf.kind.check(leaf.kind.parse(words))
        except ConfigError as error:  # it says more
            raise argparse.ArgumentTypeError(str(error)) from None
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {leaf.kind.says}, not {words!r}") from None

    return read


def _words(default: Any) -> str:
    return (",".join(map(str, default)) or "none") if isinstance(default, tuple) else str(default)
