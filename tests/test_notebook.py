"""In a notebook, run by Jupyter's own kernel: progress is seen, and results show themselves."""

from pathlib import Path

import pytest
from nbclient import NotebookClient
from nbformat import v4

CELLS = (
    """
import numpy as np
from fastnn import MLP, SGD, Dense, Input
from fastnn.progress import Progress

X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
y = (X[:, 0] > 0).astype(int)
net = MLP([Input(4), Dense(5, "relu"), Dense(2, "softmax")])
how = {"epochs": 3, "batch_size": 10, "optimizer": SGD(0.1), "backend": "reference"}
history = net.fit(X, y, callbacks=[Progress()], **how)
""",
    "net",
    "history",
    "history.plot()",
)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What each cell shows: its texts, and its results by MIME type."""
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(folder))
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        patch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
        book = v4.new_notebook(cells=[v4.new_code_cell(code) for code in CELLS])
        NotebookClient(book, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    return [
        (
            "".join(one.text for one in cell.outputs if one.output_type == "stream"),
            next((one.data for one in cell.outputs if one.output_type == "execute_result"), {}),
        )
        for cell in book.cells
    ]


def test_progress_is_a_line_an_epoch(outputs):
    lines = outputs[0][0].splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert all("loss" in line and "accuracy" in line for line in lines)


def test_results_show_themselves(outputs):
    assert "dense relu" in outputs[1][1]["text/html"]
    assert outputs[2][1]["text/html"].count("<tr>") == 4
    assert len(outputs[3][1]["image/png"]) > 1000
