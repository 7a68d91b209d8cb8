"""Write a model in another form, by the suffix of the file: .safetensors, .json to read by eye, .onnx, .html."""

import argparse

from fastnn.cli.targets import not_itself
from fastnn.errors import ConfigError
from fastnn.formats import FORMATS, format_of, suffix_of
from fastnn.model import MLP


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``fastnn convert``."""
    parser.usage = f"{parser.prog} MODEL FILE [options]"
    parser.add_argument("model", metavar="MODEL", help="a model, such as a run's model.safetensors")
    parser.add_argument("file", metavar="FILE", help=f"what to write: a name that ends in {' or '.join(FORMATS)}")


def run(options: argparse.Namespace) -> int:
    """Carry out ``fastnn convert``."""
    if suffix_of(options.file) not in FORMATS:
        raise ConfigError(f"{options.file}: a model's file ends in {' or '.join(FORMATS)}")
    not_itself(options.model, options.file)
    found = format_of(options.model).load(options.model, MLP)
    network, checkpoint = found if isinstance(found, tuple) else (found, None)
    network.save(options.file)
    print(f"the model is in {options.file}")
    if checkpoint:
        print(f"the state of its training is not in it: keep {options.model} to resume from")
    return 0
