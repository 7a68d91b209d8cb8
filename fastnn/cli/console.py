"""Tables on stdout: with lines and colours on a terminal, plain elsewhere."""

import sys
from typing import TYPE_CHECKING

from fastnn.progress import is_fancy

if TYPE_CHECKING:
    from rich.console import Console


def make_console() -> "Console":
    """A console that prints texts as they are."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False, force_terminal=None if is_fancy(sys.stdout) else False)
