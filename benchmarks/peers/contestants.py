"""Who takes part: one small module each in ``nets``, imported only in that contestant's own process.

``nets`` has no ``__init__.py``: asv imports all packages that it finds here, and peers need not be installed for it.

Each module has a class `Net`, made from a task and a number of threads, which brings the data into its own form at
once:

reset()
    Put the task's first weights back.
epoch()
    Train over all batches in order, and return when all of it is done.
parameters() -> [(W (I, O), b (O,)), ...]
    The weights as they are now, as NumPy arrays.
"""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Protocol

from benchmarks.peers.rows import Parameters, Row, Task


class Net(Protocol):
    """A contestant at work; see above."""

    def reset(self) -> None: ...

    def epoch(self) -> None: ...

    def parameters(self) -> Parameters: ...


@dataclass(frozen=True)
class Contestant:
    """A row of the table of contestants.

    Parameters
    ----------
    module : str
        In ``nets``.
    packages : tuple of str
        What is imported and named with its version.
    peer : bool
        Whether it is one that fastnn is measured by.
    settings : mapping
        Further arguments of `Net`.
    """

    module: str
    packages: tuple[str, ...]
    peer: bool
    settings: dict[str, Any]

    @property
    def missing(self) -> list[str]:
        """Those of its packages that are not installed."""
        return [name for name in self.packages if find_spec(name) is None]

    def load(self) -> ModuleType:
        """Import its module, and so its packages."""
        return import_module(f"benchmarks.peers.nets.{self.module}")

    def net(self, task: Task, threads: int) -> Net:
        """The contestant with the data in its own form, ready to start."""
        return self.load().Net(task, threads, **self.settings)


CONTESTANTS = {
    "fastnn-fused": Contestant("fastnn_fit", ("numba",), False, {"backend": "fused"}),
    "fastnn-reference": Contestant("fastnn_fit", ("numpy",), False, {"backend": "reference"}),
    "pytorch": Contestant("pytorch", ("torch",), True, {}),
    "jax": Contestant("jax_scan", ("jax",), True, {}),
    "scikit-learn": Contestant("sklearn_mlp", ("sklearn",), True, {}),
    "numpy": Contestant("numpy_loop", ("numpy",), True, {}),
}
EXACT = Contestant("numpy_loop", ("numpy",), False, {"dtype": "float64"})  # runs outside the contest, to judge it by


def refusal(name: str, row: Row) -> str | None:
    """Why a contestant cannot do the work of a row; None if it can."""
    if name == "scikit-learn" and row.sizes[-1] == 2:
        return "MLPClassifier gives two classes one logistic output, not two of a softmax"
    return None
