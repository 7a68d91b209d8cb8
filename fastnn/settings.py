"""Settings that are checked: numbers within ranges, immutable classes of them, and the choice of one by its name."""

import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple, TypeVar

from fastnn.errors import ConfigError

LARGEST = sys.float_info.max


class Range(NamedTuple):
    """The values that a number may have: in words, and as a test (which a NaN fails)."""

    words: str
    holds: Callable[[float], bool]


POSITIVE = Range("above 0", lambda value: 0 < value <= LARGEST)
NOT_NEGATIVE = Range("at least 0", lambda value: 0 <= value <= LARGEST)
BELOW_ONE = Range("at least 0 and below 1", lambda value: 0 <= value < 1)
UP_TO_ONE = Range("from 0 to 1", lambda value: 0 <= value <= 1)
COUNT = Range("at least 1", lambda value: 1 <= value <= LARGEST)


def setting(default: float, allowed: Range) -> Any:
    """A field of a `Settings` class: a number within a range."""
    return field(default=default, metadata={"range": allowed})


def checked(value: Any, allowed: Range, what: str, kind: type = float) -> Any:
    """`value` as a plain `kind`, int or float; ConfigError if it is not a number of this kind within its range."""
    number = Integral if kind is int else Real
    with suppress(OverflowError):  # a whole number beyond all floats is within no range
        if type(value) is not bool and isinstance(value, number) and allowed.holds(kind(value)):
            return kind(value)
    noun = "whole number" if kind is int else "number"
    raise ConfigError(f"{what} must be a {noun} {allowed.words}, not {value!r}")


@dataclass(frozen=True)
class Settings:
    """Base of immutable dataclasses whose fields are numbers, each checked against its range."""

    name: ClassVar[str]

    def __post_init__(self) -> None:
        for item in fields(self):
            if allowed := item.metadata.get("range"):
                what = f"{item.name} of {self.name}"
                object.__setattr__(self, item.name, checked(getattr(self, item.name), allowed, what, item.type))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Choice(Settings):
    """Settings that are chosen by name from a table."""

    def settings(self) -> dict[str, Any]:
        """The name and all settings as a plain dict, from which `make_optimizer` or `make_schedule` makes it again."""
        return {"name": self.name, **asdict(self)}


def nearest(word: str, known: Iterable[str]) -> str:
    """Words for an error message that tell which of the known names was probably meant; none if there is no such."""
    found = get_close_matches(word, list(known), 1)
    return f" (did you mean {found[0]}?)" if found else ""


def one_of(name: str, known: Collection[str], what: str) -> str:
    """`name`, if it is among those that are known; else ConfigError, which lists them."""
    if name not in known:
        raise ConfigError(f"unknown {what} {name!r}; choose one of {', '.join(known)}{nearest(str(name), known)}")
    return name


Chosen = TypeVar("Chosen", bound=Choice)


def choose(
    table: Mapping[str, type[Chosen]],
    what: str,
    name: str | Chosen,
    settings: dict[str, Any],
    own: type[Chosen] | None = None,
) -> Chosen:
    """Look a name up, and apply settings to what it stands for.

    Parameters
    ----------
    table : mapping from str to a dataclass
    what : str
        What is chosen, for the error message ("optimizer").
    name : str or an instance of one of the classes
    settings : dict
        Fields that differ from their defaults, or from those of the instance.
    own : type, optional
        Instances of all its subclasses are taken too; without settings they stay what they are.

    Raises
    ------
    ConfigError
        An unknown name or setting, or a setting out of its range.
    """
    base = table[name]() if isinstance(name, str) and name in table else name
    if isinstance(base, str) or not (type(base) in table.values() or (own and isinstance(base, own))):
        hint = nearest(str(name), table)
        raise ConfigError(f"unknown {what} {name!r}{hint}; choose one of {', '.join(table)}")
    known = [item.name for item in fields(base)]
    for unknown in (given for given in settings if given not in known):
        has = f"its settings are {', '.join(known)}" if known else "it has no settings"
        raise ConfigError(f"the {what} {base.name} knows no setting {unknown!r}{nearest(unknown, known)}; {has}")
    return replace(base, **settings) if settings else base
