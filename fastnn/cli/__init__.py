"""The command line: a file for each command, and here the one place where errors become lines and exit codes."""

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from fastnn.cli import (
    convert,
    doctor,
    evaluate,
    export,
    gradcheck,
    inspect,
    predict,
    preview,
    recipes,
    reproduce,
    roofline,
    train,
    tune,
    warmup,
)
from fastnn.errors import ConfigError, FastnnError
from fastnn.version import __version__

COMMANDS = (
    *(train, tune, recipes, reproduce, inspect, preview),
    *(predict, evaluate, convert, export),
    *(gradcheck, warmup, doctor, roofline),
)
CHECK_FAILED, BAD_INPUT, INTERRUPTED, BROKEN_PIPE = 1, 2, 130, 141


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        What stands behind ``fastnn``; by default, what the program was called with.

    Returns
    -------
    int
        0 done; 1 a check that ran and failed, or a fault of ours; 2 bad input or usage; 3 diverged; 130 Ctrl-C.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - None where the caller closed it
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    try:
        options = build_parser().parse_args(words)
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever read our output has seen enough; keep Python's own last flush from complaining
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in words:
            traceback.print_exception(error)
        code, line = _verdict(error)
        print(f"fastnn: {' '.join(line.split())}", file=sys.stderr)
        return code


def _verdict(error: BaseException) -> tuple[int, str]:
    """The exit code and the line that an error ends with."""
    if isinstance(error, FastnnError):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, str(error) or "interrupted"
    if isinstance(error, MemoryError):
        return BAD_INPUT, f"there is not enough memory for this: {error}"
    if isinstance(error, OSError):
        return BAD_INPUT, f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return CHECK_FAILED, f"internal error ({type(error).__name__}: {error}); run it with --debug to see where"


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; a parsed command has a `run` that carries it out."""
    parser = _Parser(
        prog="fastnn", description="Train multilayer perceptrons on a CPU, and use them.", allow_abbrev=False
    )
    _common(parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in COMMANDS:
        name = module.__name__.rpartition(".")[2]
        command = commands.add_parser(name, help=module.__doc__, description=module.__doc__, allow_abbrev=False)
        _common(command)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", action="version", version=f"fastnn {__version__}")
    parser.add_argument("--debug", action="store_true", help="show where in the program an error came from")
