"""What the threads of a step take over from each other: cache lines that one of them needs and another has changed.

Counted from the plan of a fit (fastnn/kernels/plan.py), as if each thread did just its own share of each phase, no line
left a cache for want of room, and all rows of weights were used. Losses and hits, some lines a step, are left out.
"""

from itertools import pairwise

import numpy as np

from fastnn.kernels.buffers import panels_of
from fastnn.kernels.narrow import row_step
from fastnn.kernels.plan import (
    BEGIN,
    BLOCKS,
    BY_OUTPUTS,
    END,
    FROM_PANEL,
    GRANULES,
    GROUPS,
    HALVES,
    NARROW,
    OF_LAYER,
    OF_PANELS,
    OUTPUTS,
    PAIRS_BELOW,
    PIECES,
    SCATTERED,
    SPARSE,
    cut,
    granules_of,
)
from fastnn.kernels.replicas import pay
from fastnn.kernels.share import BELOW, ROWS, SAMPLES, TRAIN, UNITS, by_units, granules
from fastnn.kernels.simd import WIDTH
from fastnn.layers import LANES as PANEL
from fastnn.training import Fit


class Exchange:
    """The phases of a fit's step of training on so many threads, and what each thread has of them.

    Attributes
    ----------
    counts : dict
        The granules of each kind of phase (UNITS, SAMPLES, BELOW, ROWS) that a step has.
    by_units : bool
        Whether threads share the units of the first layer; or, where a step is one phase, its columns.
    """

    def __init__(self, fit: Fit, threads: int):
        net, plan = fit.network.architecture, fit.job.workspace
        self.widths, self.batch, self.threads, self.words = net.widths, fit.job.batch_size, threads, plan.words
        self._layers = plan.layers
        groups, pieces = int(plan.words[GROUPS]), int(plan.words[PIECES])
        self.by_units = bool(by_units.py_func(plan.words, TRAIN, threads))
        self.once = pay(plan, fit.job, self.batch)
        if self.once:
            self.counts = {SAMPLES: pieces} if pieces else {ROWS: int(plan.words[BLOCKS])}
        else:
            self.counts = {SAMPLES: int(granules.py_func(plan.words, SAMPLES, TRAIN, self.batch, threads)),
                           ROWS: int(plan.words[GRANULES])}  # fmt: skip
            if self.by_units:
                self.counts[UNITS] = groups * (1 if plan.words[SPARSE] else HALVES)
                if plan.words[PAIRS_BELOW]:
                    self.counts[BELOW] = int(plan.words[PAIRS_BELOW])
        self._rows, _ = granules_of(self.widths, threads, 0 if pieces else groups, bool(plan.words[SCATTERED]))

    def lines(self) -> dict[int, float]:
        """The lines that a thread takes over in each phase that there is, on average."""
        found = [self._taken_over(thread) for thread in range(self.threads)]
        return {kind: float(np.mean([each[kind] for each in found])) for kind in sorted(self.counts)}

    def _share(self, kind: int, thread: int) -> range:
        count = self.counts.get(kind, 0)
        return range(count * thread // self.threads, count * (thread + 1) // self.threads)

    def _taken_over(self, thread: int) -> dict[int, int]:
        """Weights, and Z of the first layer, that others made; then what a gradient is formed from.

        That is either the gradients of others' pieces, or inputs and deltas of others' samples. Where a step is one
        phase, these gradients, or Z of others' halves of the columns, are all there is.
        """
        if self.words[PIECES]:
            others = self.counts[SAMPLES] - len(self._share(SAMPLES, thread))
            if self.once:
                return {SAMPLES: others * self._of_a_piece(self._rows)}
            rows = self._rows[self._share(ROWS, thread)]
            weights = sum(int((g[END] - g[BEGIN]) * g[OF_PANELS]) for g in rows)
            everything = sum((below + 1) * panels_of(above) for below, above in pairwise(self.widths))
            return {SAMPLES: everything - weights, ROWS: others * self._of_a_piece(rows)}
        if self.once:
            others = self.counts[ROWS] - len(self._share(ROWS, thread))
            return {ROWS: others * panels_of(self.widths[1]) * self.batch}
        rows = self._rows[self._share(ROWS, thread)]
        samples, made = self._samples(thread), self._first_outputs(thread)
        mine, weights, formed, came = self._own_deltas(thread), [], 0, 0
        for layer, (below, above) in enumerate(pairwise(self.widths)):
            others = np.ones((below + 1, panels_of(above)), bool)
            inputs, deltas = np.zeros(panels_of(below), bool), np.zeros(panels_of(above), bool)
            for g in rows[rows[:, OF_LAYER] == layer]:
                panels = slice(g[FROM_PANEL], g[FROM_PANEL] + g[OF_PANELS])
                others[g[BEGIN] : g[END], panels] = False
                inputs[g[BEGIN] // PANEL : panels_of(int(g[END]))] = deltas[panels] = True
            if layer == 0 and UNITS in self.counts:  # it reads its own panels alone
                others[:, ~made.any(axis=1)] = False
            if layer == 0 and (UNITS in self.counts or self.words[SPARSE]):  # each has its inputs for itself
                inputs[:] = False
            weights.append(int(others.sum()))
            if layer < 2 and BELOW in self.counts:  # what the second layer's gradient needs came for those deltas
                formed += 0 if layer else int((deltas & ~mine).sum()) * self.batch
                theirs = others[:below][np.repeat(mine, PANEL)[:below]] if layer else others[:0]
                came += int(theirs.sum()) + layer * panels_of(above) * int((~samples).sum())
                continue
            formed += int(inputs.sum() + deltas.sum()) * int((~samples).sum())
        if UNITS not in self.counts:
            return {SAMPLES: sum(weights), ROWS: formed}
        z = int((~made[:, samples]).sum())
        return {UNITS: weights[0], SAMPLES: z + sum(weights[1:]), BELOW: came, ROWS: formed}

    def _of_a_piece(self, rows: np.ndarray) -> int:
        """The lines that some granules of a piece's gradient fill."""
        found = 0
        for g in rows:
            inputs, outputs = int(g[END] - g[BEGIN]), self.widths[g[OF_LAYER] + 1]
            units = int(row_step.py_func({OUTPUTS: outputs})) if self.words[NARROW] else PANEL
            turned = self._layers[g[OF_LAYER], BY_OUTPUTS] and not self.words[NARROW]
            found += outputs * panels_of(inputs) if turned else panels_of(inputs * units) * int(g[OF_PANELS])
        return found

    def _samples(self, thread: int) -> np.ndarray:
        """Which samples of the batch are a thread's (B,)."""
        mine, count = np.zeros(self.batch, bool), self.counts[SAMPLES]
        for number in self._share(SAMPLES, thread):
            mine[self.batch * number // count : self.batch * (number + 1) // count] = True
        return mine

    def _own_deltas(self, thread: int) -> np.ndarray:
        """Of which panels of the first layer it makes the deltas of all samples (panels,)."""
        mine, pairs = np.zeros(panels_of(self.widths[1]), bool), self._share(BELOW, thread)
        mine[WIDTH * pairs.start : WIDTH * pairs.stop] = True
        return mine

    def _first_outputs(self, thread: int) -> np.ndarray:
        """Of which panels of the first layer, and which samples, it makes Z in a phase of its own (panels, B)."""
        panels, groups = panels_of(self.widths[1]), int(self.words[GROUPS])
        made = np.zeros((panels, self.batch), bool)
        for number in self._share(UNITS, thread) if self.by_units else ():
            group, half = (number, 0) if self.words[SPARSE] else divmod(number, HALVES)
            begin, end = (0, self.batch) if self.words[SPARSE] else (
                self.batch * half // HALVES, self.batch * (half + 1) // HALVES
            )  # fmt: skip
            made[slice(*cut(panels, groups, group)), begin:end] = True
        return made
