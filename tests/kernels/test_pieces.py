"""Gradients of pieces of a batch where nets are not narrow, and layers of few outputs, within the bounds of float32."""

import ctypes
from dataclasses import replace
from typing import Any

import pytest

from fastnn import kernels
from fastnn.kernels import plan
from tests.cases import Case
from tests.kernels.test_equivalence import CHECKS

PIECES = Case((32, 64, 64, 4), ("relu", "relu"), samples=300, batch_size=256)


@pytest.mark.parametrize("kernel", ["gradients", "train"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"widths": (33, 40, 47, 3), "hidden": ("tanh", "sigmoid")},  # no whole panels
        {"widths": (24, 300, 2), "hidden": ("relu",)},  # rows longer than tiles of samples
        {"widths": (15, 20, 17), "hidden": ("relu",)},  # no few outputs
        {"samples": 513, "batch_size": 512},  # a last batch with which most pieces have nothing
        {"samples": 700, "batch_size": 600, "widths": (24, 40, 5), "hidden": ("relu",)},  # more than a block in a piece
        {"weighted": True, "optimizer": "adam", "weight_decay": 0.1, "clip_norm": 0.05},
        {"optimizer": "momentum", "weight_decay": 0.1},
        {"real": False, "scaling": "each", "dropout": (0.2, 0.3)},
        {"dropout": (0.2,), "widths": (33, 2), "hidden": ()},
        {"real": False, "density": 0.1, "widths": (40, 16, 40, 2)},  # the first layer's few outputs on sparse input
    ],
    ids=str,
)
def test_pieces_of_each_kind(settings: dict[str, Any], threads: int, kernel: str) -> None:
    case, fused = replace(PIECES, threads=threads, **settings), kernels.backend("fused")
    CHECKS[kernel](fused, case)
    job = case.job()
    fused.train(job, case.order(), 0, 0, case.steps(1))
    words = job.workspace.words
    assert words[plan.PIECES] > 1
    assert not words[plan.NARROW]


@pytest.mark.parametrize(
    ("settings", "in_lanes", "by_outputs"),
    [
        ({}, [0, 0, 1], [0, 0, 1]),
        ({"widths": (32, 16, 16, 10)}, [0, 0, 0], [0, 0, 0]),
        ({"widths": (40, 2), "hidden": ()}, [1], [1]),
        ({"widths": (40, 10), "hidden": ()}, [0], [1]),
        ({"widths": (40, 2), "hidden": (), "batch_size": 31}, [0], [1]),
        ({"widths": (40, 2), "hidden": (), "real": False, "density": 0.1}, [1], [0]),  # sample by sample
    ],
    ids=str,
)
def test_layers_of_few_outputs_go_another_way(
    settings: dict[str, Any], in_lanes: list[int], by_outputs: list[int]
) -> None:
    case = replace(PIECES, **settings)
    job = case.job()
    kernels.backend("fused").train(job, case.order(), 0, 0, case.steps(1))
    layers = job.workspace.layers
    assert layers[:, plan.IN_LANES].tolist() == in_lanes
    assert layers[:, plan.BY_OUTPUTS].tolist() == by_outputs


@pytest.mark.parametrize(
    ("settings", "in_place"),
    [
        ({}, [True, True, False]),
        ({"widths": (32, 64, 40, 4)}, [True, False, False]),  # the last panel holds the 1 of a bias
        ({"hidden": ("tanh", "relu")}, [False, True, False]),
        ({"dropout": (0.0, 0.3)}, [False, True, False]),  # which tells factors of its own
        ({"batch_size": 100}, [False, False, False]),  # no pieces: all gradients come last
    ],
    ids=str,
)
def test_deltas_of_a_relu_take_the_place_of_its_outputs(settings: dict[str, Any], in_place: list[bool]) -> None:
    case = replace(PIECES, **settings)
    job = case.job()
    prepared = plan.prepare(job, case.batch_size, False)
    inputs, deltas = prepared.layers[:, [plan.AT_INPUTS, plan.AT_DELTAS]].T.tolist()
    assert [place in inputs for place in deltas] == in_place
    # and of a batch in pieces the row is fetched that is at the same place of the next one
    assert (prepared.words[plan.AHEAD] == case.batch_size) == any(in_place)


def test_sixteen_rows_of_weights_have_room_where_they_are_added_up() -> None:
    """They are more than tiles of samples take."""
    case = replace(PIECES, widths=(24, 300, 2), hidden=("relu",))
    job = case.job()
    kernels.backend("fused").train(job, case.order(), 0, 0, case.steps(1))
    scratch = (ctypes.c_int64 * plan.SCRATCH_WORDS).from_address(int(job.workspace.words[plan.AT_SCRATCH]))
    room = scratch[plan.ROW] - scratch[plan.TILE]
    assert room >= 4 * 16 * 304


@pytest.mark.parametrize("samples", [1, 2, 5, 40])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("widths", [(40, 2), (48, 33, 1), (100, 4)])
def test_predictions_of_few_outputs(widths: tuple[int, ...], threads: int, samples: int) -> None:
    case = replace(PIECES, widths=widths, hidden=("relu",) * (len(widths) - 2), samples=samples, threads=threads)
    output = {"output": "sigmoid", "loss": "binary_cross_entropy"} if widths[-1] == 1 else {}
    for kernel in ("predict", "score"):
        CHECKS[kernel](kernels.backend("fused"), replace(case, **output))
