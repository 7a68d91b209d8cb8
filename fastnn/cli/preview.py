"""Show what augmentation does to some images: a picture of them as they are, and as epochs see them."""

import argparse
from dataclasses import asdict

import numpy as np

from fastnn.augment import Augment
from fastnn.cli.options import add_options, add_source, config_of
from fastnn.config import LEAVES
from fastnn.errors import ConfigError
from fastnn.runs import Parts

SETTINGS = [*(name for name, leaf in LEAVES.items() if leaf.section in ("data", "augment")), "training.seed"]
IMAGES, EPOCHS = 10, 5  # columns of the picture, and rows below the first


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``fastnn preview``."""
    parser.usage = f"{parser.prog} [--recipe NAME | --config FILE] [--augment SETTINGS] [--out FILE] [options]"
    add_source(parser)
    parser.add_argument("--out", metavar="FILE", default="preview.png", help="the picture (default: preview.png)")
    add_options(parser, SETTINGS)


def run(options: argparse.Namespace) -> int:
    """Carry out ``fastnn preview``."""
    from fastnn import pictures

    config = config_of(options)
    augment = config.augment.make()
    if augment is None:
        raise ConfigError('there is nothing to show: say what is to be changed, such as --augment "shift=2,rotate=10"')
    train = Parts.of(config).train.take(slice(IMAGES))
    augment.check(train.image, train.X.shape[1])
    rows = np.arange(len(train))
    changed = [augment.apply(train.X, rows, train.image, config.training.seed, epoch) for epoch in range(EPOCHS)]
    if train.image is None:
        raise ConfigError(f"{config.data.source} does not say that its rows are images: give --image, such as 28x28")
    pictures.before_and_after(train.X, changed, train.image, options.out, _words(augment))
    print(f"{len(train)} images, and {EPOCHS} times what becomes of them, are in {options.out}")
    return 0


def _words(augment: Augment) -> str:
    """What is changed, as ``--augment`` takes it."""
    amounts = {name: value if isinstance(value, tuple) else (value,) for name, value in asdict(augment).items()}
    return ",".join(f"{name}={'/'.join(f'{one:g}' for one in value)}" for name, value in amounts.items() if any(value))
