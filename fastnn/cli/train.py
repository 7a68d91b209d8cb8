"""Train a network, judge it, and leave a folder with the model, its history and pictures behind."""

import argparse
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from fastnn.callbacks import History
from fastnn.cli.console import make_console
from fastnn.cli.options import add_options, add_source, config_of, given_options
from fastnn.cli.tune import resolved
from fastnn.config import Config
from fastnn.errors import ConfigError, DivergedError, MissingExtraError
from fastnn.kernels import backend
from fastnn.logs import LOGS, Log
from fastnn.model import MLP
from fastnn.progress import Progress, QuietProgress
from fastnn.runs import Parts, Recorder, Run, build, fit

NOTICE_SECONDS = 1.5  # kernels that are not ready by then are not in the cache


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``fastnn train``."""
    parser.usage = f"{parser.prog} [--recipe NAME | --config FILE] [--out DIR | --resume DIR] [options]"
    parser.add_argument("--quiet-progress", action="store_true",
                        help="a short line for each epoch: Epoch 3: 9461 / 10000")  # fmt: skip
    parser.add_argument("--print-every", type=_count, default=1, metavar="N",
                        help="a line for each N epochs, and for the last one (default: 1)")  # fmt: skip
    parser.add_argument("--log", action="append", choices=LOGS, default=[],
                        help="log to a tracker too; may be given several times")  # fmt: skip
    add_source(parser)
    parser.add_argument("--out", metavar="DIR", help="folder of the run (default: runs/<date>-<name>)")
    parser.add_argument("--resume", metavar="DIR", help="go on with the run in this folder; --epochs may be raised")
    add_options(parser)


def _count(words: str) -> int:
    if not words.isdecimal() or int(words) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {words!r}")
    return int(words)


def run(options: argparse.Namespace) -> int:
    """Carry out ``fastnn train``."""
    if options.resume is None:
        return _start(config_of(options), options)
    if options.config or options.out or options.recipe:
        raise ConfigError("--resume has the settings and the folder of its run: leave out --config, --recipe and --out")
    return _go_on(Run.open(options.resume, given_options(options)), options)


def _start(config: Config, options: argparse.Namespace) -> int:
    parts = Parts.of(config)
    place = Run.create(config, options.out)
    try:
        if config.network.hidden == "auto":
            config = resolved(config, parts, place.folder)
            place = Run(place.folder, config.absolute())
            place.write_settings()
        return _train(place, parts, build(config, parts), options)
    finally:
        place.remove_if_empty()


def _go_on(place: Run, options: argparse.Namespace) -> int:
    if place.finished:
        print(f"the run in {place.folder} is finished; give more --epochs than {place.config.training.epochs} to go on")
        return 0
    parts = Parts.of(place.config)
    return _train(place, parts, build(place.config, parts), options)


def _train(place: Run, parts: Parts, network: MLP, options: argparse.Namespace) -> int:
    print(f"{place.config.data.source}: {parts}", network, _settings(place.config), sep="\n", flush=True)
    show = QuietProgress if options.quiet_progress else Progress
    progress, recorder = show(every=options.print_every), Recorder(place)
    logs: list[Log] = []
    summary = None
    try:
        for name in options.log:
            logs.append(LOGS[name](place.folder, place.config.values(), options.resume is not None))
        compile_seconds = _compile(place.config.training.backend)
        callbacks = [place.checkpoints(), recorder, *logs, progress]
        history = fit(place.config, network, parts, callbacks, place.last if options.resume else None)
        if len(history) < place.config.training.epochs:
            print(f"stopped early: no improvement in {place.config.training.patience} epochs")
        summary = place.judge(parts, recorder, compile_seconds)
        _draw(place, parts, history)
        place.finish(summary, parts)
    except DivergedError as error:
        kept = f"the last good checkpoint is kept: {place.last}" if place.last.exists() else "no epoch was finished"
        raise DivergedError(f"{error}; {kept}", error.epoch) from error
    except KeyboardInterrupt:
        if not place.last.exists():
            raise
        command = f"fastnn train --resume {shlex.quote(str(place.folder))}"
        raise KeyboardInterrupt(f"interrupted; go on with: {command}") from None
    finally:
        progress.close()
        for log in logs:
            log.close(summary)
    accuracy = "" if summary["test_accuracy"] is None else f"accuracy {summary['test_accuracy']:.2%}  "
    print(f"test  {accuracy}loss {summary['test_loss']:.4f}  (model of epoch {summary['best_epoch']})")
    _show(summary)
    print(f"model, history and pictures are in {place.folder}")
    return 0


def _settings(config: Config) -> str:
    """How it is trained, in a line."""
    training, optimizer = config.training, config.optimizer.make()
    batch = f"batches of {training.batch_size}" if training.batch_size else "full batches"
    words = [f"{training.epochs} epochs", batch, f"{optimizer.name}, rate {optimizer.learning_rate:g}"]
    return ", ".join([*words, config.schedule.make().name, f"seed {training.seed}"])


def _show(summary: Mapping[str, Any]) -> None:
    """What the run came to, as a table."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    forms = {"accuracy": "{:.2%}", "loss": "{:.4f}"} if summary["test_accuracy"] is not None else {"loss": "{:.4f}"}
    table = Table("set", box=SIMPLE_HEAD)
    for name in forms:
        table.add_column(name, justify="right")
    for part, title in (("val", "validation"), ("test", "test")):
        if summary[f"{part}_loss"] is not None:
            table.add_row(title, *(form.format(summary[f"{part}_{name}"]) for name, form in forms.items()))
    table.add_section()
    table.add_row("training", *["", f"{summary['train_seconds']:.1f} s"][-len(forms) :])
    make_console().print(table)


def _compile(name: str) -> float:
    """Make the kernels ready: seconds that it took. Says so where the user would wonder."""
    notice = threading.Timer(
        NOTICE_SECONDS, print, ["compiling the kernels, once per installation ..."], {"flush": True}
    )
    notice.daemon = True
    notice.start()
    start = time.perf_counter()
    try:
        apart = name == "fused" and _compile_apart()
        seconds, here = backend(name).warm()
    finally:
        notice.cancel()
    if apart:
        seconds = time.perf_counter() - start
    if apart or here:
        print(f"compiled the kernels in {seconds:.1f} s", flush=True)
    return float(seconds)


def _compile_apart() -> bool:
    """Compile, if that is to be done and can be kept, in a process of its own: LLVM lets go of nothing before it ends.

    With the compiler in it, an MNIST run takes 439 MiB; without it 338.
    """
    from fastnn.kernels import cache

    kept = cache.state(backend("fused").make)
    if kept.fresh or kept.folder is None or not sys.executable:
        return False
    # it finds its modules where this one does, and only there; what goes wrong goes wrong here too, and is said then
    words, silent = [sys.executable, "-P", "-m", "fastnn", "warmup"], subprocess.DEVNULL
    there = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(words, env=there, stdout=silent, stderr=silent, check=False)  # noqa: S603 - our own
    return done.returncode == 0


def _draw(place: Run, parts: Parts, history: History) -> None:
    try:
        place.draw(parts, history)
    except MissingExtraError as error:
        print(error, file=sys.stderr)
