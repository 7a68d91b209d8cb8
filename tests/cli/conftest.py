import numpy as np
import pytest

from fastnn.cli import main
from fastnn.runs import Run


@pytest.fixture
def table(tmp_path):
    """A CSV file of 60 rows: three classes by name that four features tell apart, with a header."""
    rng = np.random.default_rng(0)
    kinds = np.arange(60) % 3
    X = rng.normal(size=(60, 4)).round(3) + 3 * np.eye(3, 4)[kinds]
    lines = [
        "kind,a,b,c,d",
        *(f"{'ABC'[kind]}{kind}," + ",".join(map(str, row)) for kind, row in zip(kinds, X, strict=True)),
    ]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def fastnn(capfd):
    """Run a command in this process: (exit code, standard output, standard error)."""

    def run(*words):
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def train(fastnn, table, tmp_path, monkeypatch):
    """Train on `table` with the reference backend and without pictures, to be quick; the folder is tmp_path / "run"."""

    def run(*words, out=tmp_path / "run", pictures=False):
        place = () if out is None else ("--out", out)
        small = ("--data", table, "--backend", "reference", "--hidden", 5, "--epochs", 3, "--batch-size", 16)
        with monkeypatch.context() as patch:
            if not pictures:
                patch.setattr(Run, "draw", lambda *arguments: None)
            return fastnn("train", *small, *place, *words)

    return run


@pytest.fixture
def refused(fastnn):
    """Run a command that must end with exit code 2 and one line, which is returned."""

    def run(*words):
        code, _, err = fastnn(*words)
        assert code == 2
        assert err.startswith("fastnn: ")
        assert err.count("\n") == 1
        assert "Traceback" not in err
        return err

    return run
