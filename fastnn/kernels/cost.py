"""What decides how a step is done: a model of its cost.

Times are in cycles of one core, for vectors of the CPU's length; only their ratios matter. They are counted from loads
and multiply-adds. What was chosen by measurement says so, and by which.
"""

from collections.abc import Sequence

from fastnn.kernels.vectors import PARTS
from fastnn.layers import LANES as PANEL

# Of columns of W, by the panels of a group. More than a first-level cache of 32 KiB: few pixels are often set, and
# shorter lists cost more. Epochs of 784-300-10, batch 100, on one and two threads: 48 KiB 183 and 114 ms, 80 183 and
# 111, 128 191 and 113, 256 209 and 124.
BLOCK_BYTES = 80 * 2**10

# Samples of a batch whose gradient is scattered right onto W: a row is then rounded as often as it has samples, not
# once, but no sums are zeroed and read. Epoch of 784-30-10, batch 10, one thread: 57 ms instead of 81.
IN_PLACE = 32

# Panels of units up to which the gradient is summed sample by sample (and Z in two halves of the columns, that two
# threads can share). Epochs on one thread at batch 32, so and by columns: 784-64-10 62 and 69 ms, 784-128-10 116 and
# 105 (AVX-512).
SCATTERED_PANELS = 4

# Samples of a batch up to which a first-level cache of 32 KiB holds the deltas of four panels. In larger batches the
# columns of no more than so many panels are summed at once. 256 samples by 25 panels, one thread of an AMD server: by
# six panels 0.52 ms, by four 0.47, by three 0.37.
FAR, FAR_PANELS = 128, 3

# Values that a column has, of 64 samples, from which on bytes are sorted by columns many at once, not one by one: that
# takes about as long however many there are. 784 columns, so and one by one: of 100 samples 8.1 and 5.1 us at a density
# of 5%, 8.7 and 10.3 at 10%, 11 and 19 at 19%; of 10 samples 2.2 and 1.9 us at 19%.
WORTH_A_RUN = 4

# Of the deltas that rows of a dense layer's gradient are formed with, one row of panels after the other: an eighth of a
# second-level cache of 2 MiB, or a quarter of one of 1 MiB. Epochs on two threads, with all units at once and so:
# 784-2500-2000-..., batch 256, 1.58 s and 1.52, 784-800-800-10 1.12 and 1.09 (an Intel server).
DELTA_BYTES = 2**18

# Of the layers above a first one whose columns two threads share: multiply-adds of vectors in a step, and what else
# takes as long, up to which each thread does all of them for itself (kernels/replicas.py). This count in thousands, and
# the time of a step so by that of three phases, in which units are shared: at batch 32 and 100 784-30-10 [6, 0.74] and
# [19, 0.84], 784-64-64-10 [40, 0.76] and [126, 0.93]; at batch 100 784-30-30-10 [44, 0.87].
REPEATED = 2**17

# Parameters, times the pieces of a batch that have gradients of their own, up to which each thread adds up all of them
# for itself, and updates all weights. In thousands, and the time of a step so by that of two phases, two threads:
# 24-8-2, batch 200 [1, 0.94]; 32-64-64-4, batch 128 [15, 0.89], 256 [15, 0.93] and 512 [29, 1.00]; 100-100-10, batch
# 256 [26, 1.00] and 512 [52, 1.10]; 64-100-100-4, batch 512 [81, 1.07].
UPDATED = 2**15

# Deltas of a first layer of ReLUs, whose units threads share, up to which who has the units makes them too: so neither
# they nor what the units were go from core to core. More of them do not stay in a second-level cache. Epochs on two
# threads, by those in which who has the samples made them: batch 100, 784-256-128-64-10 0.98, 784-300-10 0.98 and on
# dense input 0.985; but 784-800-800-10, batch 256, 1.02 (an AMD server).
KEPT_DELTAS = 2**17

# Weights of a layer that stay in a first-level cache, and are read in place. Epochs of 32-64-64-4, batch 256, on two
# threads: 21.6 ms with copies of panels, and 20.9 without.
NEAR_FLOATS = 2**12

LIST_ROOM = 2**26  # values that a thread lists at most: 512 MiB, and as much again by columns
NEAR_BYTES = 2**19  # of a second-level cache

# Weights of a dense first layer that are put panel by panel while it trains (kernels/apart.py): to put them there and
# back takes as long as going through them four times, and more of them do not stay in a cache.
MOVED = 2**20

# Outputs of a layer whose Z may be summed in all lanes, not in a lane for each, most of which would be empty; and
# multiply-adds of vectors that take as long as to add up the lanes of one sum. Epochs so, one thread, batch 256, by the
# other way: 64-40-2 0.96, 32-64-64-4 0.97, 64-24-3 0.98 (AVX-512); 128-128-8 0.99, and more to compile.
FEW_OUTPUTS = 4
ADDING_UP = 5
TURNED = 32  # samples of a batch whose gain makes up for turning the weights, some 100 cycles for each 16 inputs

# Bytes that the row to be fetched lies behind the present one, unless it is of the next batch: no CPU foresees how
# batches are shuffled. Epochs of 784-30-10 on sparse input, batch 10, shuffled, one thread: 49 ms, with it 41. Past the
# end of the batch, on an Intel server: 40.1 ms, so 38.1, and in order 32.6 and 31.0.
AHEAD_BYTES = 2048

ACTIVATING = 32  # multiply-adds of vectors that take about as long as to activate one (benchmarks.parts)

DENSE = 0.6  # cycles of a multiply-add of vectors in a dense tile: two units, 0.85 of their peak
# In a sparse row, and of finding a value that is not zero, whatever the width. By both, 784-10-10 is as fast either way
# at a density of 0.32, 784-30-10 at 0.41, 784-64-10 at 0.47, 784-128-10 at 0.50; measured were 0.37, 0.41, 0.43, 0.51.
SPARSE = 1.1
VALUE = 1.5


# Of values that a ReLU has made, or of their deltas: the share that is not zero up to which sums skip the others, the
# values of a sum from which on, and the samples that tell that share. A row of four panels of weights takes a core that
# multiplies and adds one vector in a cycle, and loads one, 5 cycles when zeros are skipped, and 20 more for each 64
# values; in dense tiles 4.2. 64-64 by 128 samples: forward 9.2 us, and skipping zeros 5.3 at a share of 0.4, 6.4 at
# 0.5, 7.4 at 0.6; the gradient 9.0, and 4.8, 5.9 and 6.9 (an AMD server).
NOT_ZERO = 0.7
WORTH_SKIPPING = 32
SAMPLED = 8


def places_ahead(row_bytes: int, batch: int) -> int:
    """How many places behind the present row that one stands which is fetched meanwhile.

    Of a piece of a `batch` (0: there are none), the row at its place in the next one, which mostly has the same thread;
    so none of a call's first batch is. Epochs of 32-64-64-4, batch 256, one thread: 37.2 ms, and so 36.8.
    """
    return batch if 0 < batch * row_bytes <= NEAR_BYTES else 1 + AHEAD_BYTES // row_bytes


def sparse_pays(density: float, outputs: int) -> bool:
    """Whether the first layer is faster on the non-zero values of its input, a share `density` of all."""
    vectors = -(-outputs // PANEL) * PARTS
    return density * (2 * SPARSE * vectors + VALUE) < 2 * DENSE * vectors


def scatter_pays(outputs: int) -> bool:
    """Whether the first layer's gradient is summed sample by sample, not column by column.

    By columns, each value is sorted first, but sums stay in registers; sample by sample each is stored at once.
    """
    return -(-outputs // PANEL) <= SCATTERED_PANELS


def repeating_pays(widths: Sequence[int], batch: int) -> bool:
    """Whether each thread does all layers above the first, whose outputs are widths[0], for itself."""
    panels = [-(-width // PANEL) for width in widths]
    rows = sum((below + 1) * above for below, above in zip(widths, panels[1:], strict=False))
    return batch * (3 * rows + ACTIVATING * sum(panels)) <= REPEATED


def updating_pays(parameters: int, pieces: int) -> bool:
    """Whether each thread adds up the gradients of a batch's pieces, and updates all weights, for itself."""
    return parameters * pieces <= UPDATED


def lanes_pay(inputs: int, outputs: int, batch: int) -> bool:
    """Whether Z is summed in all lanes, over panels of inputs, which then are added up."""
    return batch >= TURNED and outputs <= FEW_OUTPUTS and outputs * (inputs // PANEL + 1 + ADDING_UP) < inputs


def turning_pays(inputs: int, outputs: int) -> bool:
    """Whether a gradient of one panel takes fewer vectors with a row for each output than for each input.

    That of 64-4 by 128 samples on each of two threads: 2.1 us, and 0.9 so.
    """
    return outputs <= PANEL and outputs * (inputs // PANEL + 1) < inputs + 1


def finest(parameters: int) -> int:
    """How many samples a thread claims at least: each time it packs and transposes all the weights.

    784-2500-2000-..., batch 256, two threads: an epoch of 1.08 s with 64 samples, 1.03 with 128; forward alone with 32
    is at half the speed. Weights that stay in a second-level cache are packed in no time.
    """
    return 16 if 4 * parameters <= NEAR_BYTES else 128
