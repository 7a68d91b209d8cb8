"""What the table of settings in config.py is made of: kinds of values, leaves, and sections of leaves.

A *leaf* is one setting, named by its section and its name, such as ``training.epochs``. A *kind* says how a TOML value
is checked, and how the text of an option of the command line becomes one.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, ClassVar

from fastnn.errors import ConfigError
from fastnn.settings import Choice, Range, Settings, choose, nearest


@dataclass(frozen=True)
class Kind:
    """What a setting may hold.

    Parameters
    ----------
    says : str
        What it is, to stand behind "must be".
    check : callable
        Takes a value as TOML knows it and returns it as it is kept; raises ValueError if it is none of this kind.
    parse : callable
        Makes a value for `check` from the text of an option; raises ValueError if it cannot.
    metavar : str
        What stands for the value in the help.
    names : tuple of str
        The words that it takes, if it takes words.
    """

    says: str
    check: Callable[[Any], Any]
    parse: Callable[[str], Any] = str
    metavar: str = "TEXT"
    names: tuple[str, ...] = ()


def whole(allowed: Range) -> Kind:
    """A whole number within a range."""

    def check(value: Any) -> int:
        _demand(isinstance(value, int) and not isinstance(value, bool) and allowed.holds(value))
        return int(value)

    return Kind(f"a whole number {allowed.words}".rstrip(), check, int, "N")


def number(allowed: Range) -> Kind:
    """A finite number within a range."""

    def check(value: Any) -> float:
        _demand(isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST)
        _demand(allowed.holds(float(value)))
        return float(value)

    return Kind(f"a number {allowed.words}", check, float, "NUMBER")


def word(names: Iterable[str]) -> Kind:
    """One of `names`."""
    names = tuple(names)

    def check(value: Any) -> str:
        _demand(str(value) in names)  # str: TOML may say scale = 255
        return str(value)

    says = " or ".join(names) if len(names) < 3 else f"one of {', '.join(names)}"
    return Kind(says, check, str, "|".join(names), names)


def _demand(condition: object) -> None:
    if not condition:
        raise ValueError


def text(says: str, judge: Callable[[str], object] = len, metavar: str = "TEXT", names: tuple[str, ...] = ()) -> Kind:
    """Text, not empty, that `judge` does not refuse by a ValueError (as each ConfigError is)."""

    def check(value: Any) -> str:
        _demand(isinstance(value, str) and value)
        value.encode()  # UnicodeEncodeError, a ValueError: what UTF-8 cannot hold, a TOML file cannot
        judge(value)
        return str(value)

    return Kind(says, check, str, metavar, names)


def sequence(item: Kind, says: str, length: int | None = None) -> Kind:
    """A tuple of `item`; in an option separated by commas, "none" if it is empty."""

    def check(value: Any) -> tuple[Any, ...]:
        values = value if isinstance(value, (list, tuple)) else [value]
        _demand(length in (None, len(values)))
        return tuple(item.check(one) for one in values)

    def parse(words: str) -> list[Any]:
        return [] if words == "none" else [item.parse(one.strip()) for one in words.split(",")]

    return Kind(says, check, parse, ",".join([item.metavar] * length) if length else f"{item.metavar},...")


def either(*kinds: Kind) -> Kind:
    """Whatever the first of `kinds` that takes the value makes of it."""

    def first(attempt: Callable[[Kind, Any], Any]) -> Callable[[Any], Any]:
        def find(value: Any) -> Any:
            for kind in kinds:
                try:
                    return attempt(kind, value)
                except ValueError:
                    continue
            raise ValueError

        return find

    return Kind(
        " or ".join(kind.says for kind in kinds),
        first(lambda kind, value: kind.check(value)),
        first(lambda kind, text: kind.check(kind.parse(text))),
        "|".join(dict.fromkeys(kind.metavar for kind in kinds)),
        tuple(name for kind in kinds for name in kind.names),
    )


def _not_a_number(value: str) -> None:
    try:
        float(value)
    except ValueError:
        return
    raise ValueError  # 1.5 is a bad fraction, not a file of that name


LARGEST = sys.float_info.max
WHOLE = whole(Range("", lambda value: True))
SEED = whole(Range("from 0 to 2**64 - 1", lambda value: 0 <= value < 2**64))
AUTO = word(["auto"])
TEXT = text("a text")
PATH = text("a path", _not_a_number, "PATH")


@dataclass(frozen=True)
class Leaf:
    """One setting.

    Parameters
    ----------
    section, name : str
        Where it stands in the TOML form.
    kind : Kind
        What it may hold.
    default : Any
        What it holds if nobody says; None: nothing, and nothing else may be None.
    help : str
        A line for ``--help``.
    option : str
        The option of the command line, dashes and all.
    path : bool
        It can name a file.
    """

    section: str
    name: str
    kind: Kind
    default: Any
    help: str
    option: str
    path: bool

    def __str__(self) -> str:
        return f"{self.section}.{self.name}"

    def read(self, value: Any) -> Any:
        """Check a value as TOML knows it; ConfigError if it is not of the leaf's kind."""
        try:
            return self.kind.check(value)
        except ConfigError as error:  # it says more
            raise ConfigError(f"{self}: {error}") from None
        except ValueError:
            hint = nearest(value, self.kind.names) if isinstance(value, str) else ""
            raise ConfigError(f"{self} must be {self.kind.says}, not {value!r}{hint}") from None


def leaf(default: Any, kind: Kind, help: str, option: str = "", path: bool = False) -> Any:
    """A field of a `Section`; its option is named as the field is, with dashes, unless `option` says otherwise."""
    return field(default=default, metadata={"kind": kind, "help": help, "option": option, "path": path})


class Section:
    """Base of the sections; a value that is not of its leaf's kind raises ConfigError."""

    section: ClassVar[str]

    def __post_init__(self) -> None:
        for leaf in self.leaves():
            value = getattr(self, leaf.name)
            if value is not None or leaf.default is not None:
                object.__setattr__(self, leaf.name, leaf.read(value))

    @classmethod
    @cache
    def leaves(cls) -> tuple[Leaf, ...]:
        """The leaves of the section, in the order of its fields."""
        found = []
        for one in fields(cls):  # type: ignore[arg-type]  # each subclass is a dataclass
            about = dict(one.metadata)
            about["option"] = "--" + (about["option"] or one.name.replace("_", "-"))
            found.append(Leaf(cls.section, one.name, default=one.default, **about))
        return tuple(found)


def setting(owners: Iterable[type[Settings]], default: Any, name: str, help: str, option: str = "") -> Any:
    """A leaf that is a field of one or more of `owners`, with that field's range."""
    item = next(item for owner in owners for item in fields(owner) if item.name == name)
    make = whole if item.type is int else number
    return leaf(default, make(item.metadata["range"]), help, option)


class ChoiceSection(Section):
    """A section with a `name` and the settings of whatever it may name; those of the chosen one are filled in."""

    table: ClassVar[Mapping[str, type[Choice]]]
    name: str

    def __post_init__(self) -> None:
        super().__post_init__()
        chosen = self.make()
        for leaf in self.leaves()[1:]:
            object.__setattr__(self, leaf.name, getattr(chosen, leaf.name, None))

    def make(self) -> Any:
        """What is named, with its settings; ConfigError if it has no such setting."""
        given = {leaf.name: getattr(self, leaf.name) for leaf in self.leaves()[1:]}
        given = {name: value for name, value in given.items() if value is not None}
        chosen = self.table.get(self.name)
        known = [item.name for item in fields(chosen)] if chosen else list(given)
        for name in (name for name in given if name not in known):
            has = f"its settings are {', '.join(known)}" if known else "it has none"
            raise ConfigError(f"{self.section}.{name}: the {self.section} {self.name} has no such setting; {has}")
        return choose(self.table, self.section, self.name, given)
