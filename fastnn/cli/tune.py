"""Find out how large a network should be, by validation; of two equally good ones the cheaper wins."""

import argparse
import json
import shlex
from dataclasses import asdict
from pathlib import Path

from fastnn.cli.options import add_options, add_source, config_of
from fastnn.config import Config
from fastnn.errors import ConfigError, MissingExtraError, OutputError
from fastnn.files import write_atomically
from fastnn.kernels import backend
from fastnn.runs import Parts
from fastnn.search import OVER, SPACE, Row, claim, counted, judged, open_study, rows, search, winner
from fastnn.settings import nearest

TRIALS, AUTO_TRIALS = 30, 15  # by default; and for `fastnn train --hidden auto`
MORE = [name for name in SPACE if name != "hidden"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``fastnn tune``."""
    parser.usage = f"{parser.prog} [--recipe NAME | --config FILE] [--search NAME,...] [--storage URL] [options]"
    parser.add_argument("--search", metavar="NAME,...", default="", type=_names,
                        help=f"what to search besides the hidden units: {', '.join(MORE)}")  # fmt: skip
    parser.add_argument("--trials", metavar="N", type=int, default=TRIALS,
                        help=f"networks to try, those of other processes counted (default: {TRIALS})")  # fmt: skip
    parser.add_argument("--storage", metavar="URL",
                        help="where the study is kept, as Optuna takes it, such as sqlite:///study.db, for several "
                        "processes or machines to share (default: study.db in the folder of --out)")  # fmt: skip
    parser.add_argument("--study", metavar="NAME", default="fastnn", help="its name there (default: fastnn)")
    parser.add_argument("--out", metavar="DIR", default="tuned", help="folder of what is found (default: tuned)")
    add_source(parser)
    add_options(parser)


def _names(words: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in words.split(",") if name.strip())
    for name in names:
        if name not in MORE:
            raise argparse.ArgumentTypeError(f"must be of {', '.join(MORE)}, not {name!r}{nearest(name, MORE)}")
    return names


def run(options: argparse.Namespace) -> int:
    """Carry out ``fastnn tune``."""
    if options.trials < 1:
        raise ConfigError(f"--trials must be at least 1, not {options.trials}")
    config, folder = config_of(options), Path(options.out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    parts = Parts.of(config)
    if config.network.hidden == "auto":  # that is what the search is for
        config = Config.of(config.values(), {"network.hidden": start_of(config)})
    try:
        best, found = find(config, parts, options.search, options.trials, folder, options.storage, options.study)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command goes on") from None
    report = {"winner": asdict(best), "trials": [asdict(row) for row in found]}
    write_atomically(folder / "trials.json", json.dumps(report, indent=2, allow_nan=False) + "\n")
    write_atomically(folder / "best.toml", Config.of(config.values(), best.settings).to_toml())
    try:
        from fastnn import plots

        shown = [asdict(row) for row in found]
        plots.sizes(shown, best.number, folder / "sizes.png", parts.train.classes is not None)
    except MissingExtraError as error:
        print(error)
    print(f"the cheapest of the best: {_words(best)}")
    print(f"train it by: fastnn train --config {folder / 'best.toml'}")
    return 0


def find(
    config: Config,
    parts: Parts,
    asked: tuple[str, ...],
    trials: int,
    folder: Path,
    storage: str | None = None,
    name: str = "fastnn",
) -> tuple[Row, list[Row]]:
    """Search, and say how it goes: the winner and all trials. The study is kept in `folder`, or in `storage`."""
    rows_judged, place = judged(parts), storage or study_in(folder)
    study = open_study(place, name, config.training.seed, shared=storage is not None)
    claim(study, config, parts, asked)
    if before := counted(study, OVER):
        more = "going on" if before < trials else f"none of the {trials} asked for is left to try"
        print(f"{before} trials of these settings are in {place}; {more}", flush=True)
    backend(config.training.backend).warm()
    search(study, config, parts, asked, trials, lambda row: print(_words(row), flush=True))
    if running := counted(study, ["RUNNING"]):
        print(f"trials that another process still trains, or that were cut off: {running}; they have no say yet, "
              "the same command, when they are over, names the winner of all", flush=True)  # fmt: skip
    found = rows(study)
    return winner(found, rows_judged, parts.train.classes is not None), found


def study_in(folder: Path) -> str:
    """The storage of a study in a folder, whatever characters its name has."""
    from sqlalchemy import URL  # which Optuna brings

    return URL.create("sqlite", database=str(folder / "study.db")).render_as_string()


def start_of(config: Config) -> tuple[int, ...]:
    """Hidden layers to begin with where they are "auto": as many as the activations or dropout rates say."""
    several = (config.network.activation, config.network.dropout)
    return (100,) * max(1, *(len(values) for values in several if isinstance(values, tuple)), 1)


def resolved(config: Config, parts: Parts, folder: Path) -> Config:
    """The settings with the hidden units that a search finds, where they are "auto"; its study is kept in `folder`."""
    if config.network.hidden != "auto":
        return config
    start = Config.of(config.values(), {"network.hidden": start_of(config)})
    print(f"searching the hidden units, {AUTO_TRIALS} trials:", flush=True)
    try:
        best, _ = find(start, parts, (), AUTO_TRIALS, folder)
    except KeyboardInterrupt:
        again = f"the same command with --out {shlex.quote(str(folder))} goes on"
        raise KeyboardInterrupt(f"interrupted; {again}") from None
    print(f"chosen: {','.join(map(str, best.hidden))}", flush=True)
    return Config.of(start.values(), best.settings)


def _words(row: Row) -> str:
    more = [f"{name.rpartition('.')[2]} {value:.3g}" for name, value in row.settings.items()
            if isinstance(value, (int, float))]  # fmt: skip
    value = "diverged"
    if row.value is not None:
        value = f"accuracy {row.value:.2%}" if row.value >= 0 else f"loss {-row.value:.4g}"
    hidden = "-".join(map(str, row.hidden))
    words = [f"trial {row.number}", f"hidden {hidden}", *more, value, f"{row.seconds:.1f} s", row.state]
    return "  ".join(words)
