"""Write a model for other programs: an ONNX graph, or one page for a browser that images can be drawn on."""

import argparse

from fastnn.cli.targets import not_itself
from fastnn.errors import ConfigError
from fastnn.formats import check_suffix, html, onnx
from fastnn.model import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of ``fastnn export``."""
    parser.usage = f"{parser.prog} MODEL [--onnx FILE] [--html FILE] [options]"
    parser.add_argument("model", metavar="MODEL", help="a model, such as a run's model.safetensors")
    parser.add_argument("--onnx", metavar="FILE", help="an ONNX graph from raw features to the network's outputs")
    parser.add_argument("--inputs", choices=onnx.INPUTS, default="float32", help="type of the graph's features")
    parser.add_argument("--html", metavar="FILE", help="a page that needs no network and no library")
    parser.add_argument("--weights", choices=html.WEIGHTS, default="float32", help="type of the page's weights")


def run(options: argparse.Namespace) -> int:
    """Carry out ``fastnn export``."""
    if not (options.onnx or options.html):
        raise ConfigError("export needs to be told what to write: --onnx FILE, --html FILE, or both")
    for file, suffix in ((options.onnx, ".onnx"), (options.html, ".html")):
        if file:
            check_suffix(file, suffix)
            not_itself(options.model, file)
    network = load(options.model)
    if options.onnx:
        onnx.save(options.onnx, network, options.inputs)
        print(f"the graph is in {options.onnx}")
    if options.html:
        html.save(options.html, network, options.weights)
        print(f"the page is in {options.html}")
    return 0
