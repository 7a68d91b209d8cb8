"""Write a model in another form, by the suffix of the file: .safetensors, .json to read by eye, .onnx, .html."""

import argparse

from fastnn.errors import ConfigError
from fastnn.formats import FORMATS, suffix_of
from fastnn.model import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``fastnn convert``."""
    parser.usage = f"{parser.prog} MODEL FILE [options]"
    parser.add_argument("model", metavar="MODEL", help="a model, such as a run's model.safetensors")
    parser.add_argument("file", metavar="FILE", help=f"what to write: a name that ends in {' or '.join(FORMATS)}")


def run(options: argparse.Namespace) -> int:
    """Carry out ``fastnn convert``."""
    if suffix_of(options.file) not in FORMATS:
        raise ConfigError(f"{options.file}: a model's file ends in {' or '.join(FORMATS)}")
    load(options.model).save(options.file)
    print(f"the model is in {options.file}")
    return 0
