"""What the fused kernels promise beyond agreeing with the reference: independence of threads, and of timing."""

from dataclasses import replace

import numpy as np
import pytest

from fastnn.data.compressed import Compressed
from fastnn.kernels import fused, reference, team
from fastnn.kernels.cost import SCATTERED_PANELS
from fastnn.kernels.job import Examples, Job
from fastnn.kernels.plan import PAIRS_BELOW, SPARSE, prepare
from fastnn.layers import Architecture, Dense, Dropout, Input, aligned_zeros

WIDE = [Input(40, 1 / 255), Dense(33, "gelu"), Dropout(0.3), Dense(18, "relu"), Dropout(0.5), Dense(5, "softmax")]
NARROW = [Input(40, 1 / 255), Dense(6, "gelu"), Dense(3, "relu"), Dense(5, "softmax")]


def make_job(
    samples: int = 70,
    threads: int = 1,
    sparse: bool = True,
    layers: list = WIDE,
    compressed: bool = False,
    **settings: object,
) -> Job:
    rng = np.random.default_rng(5)
    architecture = Architecture.of(layers)
    parameters = aligned_zeros(architecture.size)
    for W, b in architecture.views(parameters):
        W[...] = rng.normal(0, 0.3, W.shape)
        b[...] = rng.normal(0, 0.1, b.shape)
    X = rng.integers(1, 256, (samples, 40), np.uint8)
    X[rng.random(X.shape) < (0.8 if sparse else 0.0)] = 0
    rows: np.ndarray | Compressed = X
    if compressed:
        rows = Compressed.of(pytest.importorskip("scipy.sparse").csr_array(X.astype(np.float32)))
    examples = Examples(
        rows, rng.integers(0, 5, samples).astype(np.int32), None, rng.random(samples).astype(np.float32)
    )
    return Job(architecture, parameters, examples, threads=threads, **settings)  # type: ignore[arg-type]


def trained(
    threads: int, optimizer: str = "adam", decay: float = 0.0, **settings: object
) -> tuple[object, np.ndarray, np.ndarray]:
    settings = {"batch_size": 16, "layers": WIDE, "samples": 70} | settings
    state = np.zeros((2 if optimizer == "adam" else 0, Architecture.of(settings["layers"]).size), np.float32)
    job = make_job(threads=threads, optimizer=optimizer, first=0.9, second=0.99, state=state, **settings)
    steps = np.tile([0.01, 1e-6, decay], (-(-settings["samples"] // job.batch_size), 1))
    steps[:, 0] *= np.linspace(1, 0.5, len(steps))  # each step has a rate of its own
    orders = [np.random.default_rng(epoch).permutation(settings["samples"]) for epoch in range(3)]
    totals = [fused.train(job, order, epoch, 0, steps) for epoch, order in enumerate(orders)]
    return totals, job.parameters, job.state


PIECES = {"layers": NARROW, "sparse": False, "batch_size": 300, "samples": 700}


@pytest.mark.parametrize(
    "settings",
    [{}, {"clip_norm": 0.1}, {"sparse": False}, {"weight_decay": 0.1}, PIECES, PIECES | {"clip_norm": 0.1}],
)
@pytest.mark.parametrize("threads", [2, 3, 4])
def test_no_bit_depends_on_the_number_of_threads(threads, settings):
    one, many = trained(1, **settings), trained(threads, **settings)
    assert one[0] == many[0]
    np.testing.assert_array_equal(one[1], many[1])
    np.testing.assert_array_equal(one[2], many[2])


@pytest.mark.parametrize("settings", [{}, {"clip_norm": 0.1}, {"sparse": False}, {"batch_size": 140}], ids=str)
@pytest.mark.parametrize("units", [256, 250, 231])  # 16 panels, an incomplete one, and an odd number of them
@pytest.mark.parametrize("threads", [2, 3, 4])
def test_no_bit_depends_on_who_makes_the_deltas_of_the_first_layer(threads, units, settings):
    layers = [Input(40, 1 / 255), Dense(units, "relu"), Dense(20, "relu"), Dense(5, "softmax")]
    settings = {"layers": layers, "samples": 300} | settings
    one, many = trained(1, **settings), trained(threads, **settings)
    assert one[0] == many[0]
    np.testing.assert_array_equal(one[1], many[1])
    job = make_job(threads=threads, **{"batch_size": 16} | settings)
    assert prepare(job, job.batch_size, False).words[PAIRS_BELOW]


def test_the_same_run_twice_gives_the_same_bits():
    np.testing.assert_array_equal(trained(2)[1], trained(2)[1])


def test_what_one_backend_keeps_with_a_job_is_nothing_to_the_other():
    """Steps by the reference, the fused kernels, and the reference again: as with nothing kept."""
    kept, fresh, order, steps = make_job(batch_size=70), make_job(batch_size=70), np.arange(70), np.full((1, 3), 0.01)
    for kernels in (reference, fused, reference, reference):
        fresh.workspace = None
        assert kernels.train(kept, order, 0, 0, steps) == kernels.train(fresh, order, 0, 0, steps)
    np.testing.assert_array_equal(kept.parameters, fresh.parameters)


def test_a_gradient_kept_for_parameters_of_another_kind_is_not_used():
    order, steps = np.arange(70), np.full((1, 3), 0.01)
    job = make_job(batch_size=70)
    reference.train(job, order, 0, 0, steps)
    kept, fresh = (replace(job, parameters=job.parameters.astype(np.float64)) for _ in range(2))
    fresh.workspace = None
    assert reference.train(kept, order, 0, 0, steps) == reference.train(fresh, order, 0, 0, steps)
    np.testing.assert_array_equal(kept.parameters, fresh.parameters)


def test_more_threads_than_samples_or_rows():
    np.testing.assert_array_equal(trained(1)[1], trained(50)[1])


def one_after_the_other(order):
    """Threads that come when the others have gone: the first does all, and the others find nothing left to do."""

    def in_threads(kernel, threads, arguments, state):
        state[:] = 0
        for thread in order:
            team.alone(kernel, thread, threads, arguments)

    return in_threads


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
@pytest.mark.parametrize("settings", [{}, {"clip_norm": 0.1}, {"sparse": False}, PIECES, PIECES | {"clip_norm": 0.1}])
def test_training_does_not_depend_on_who_does_the_work(monkeypatch, order, settings):
    expected = trained(1, **settings)
    monkeypatch.setattr(team, "in_threads", one_after_the_other(order))
    found = trained(3, **settings)
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[2], expected[2])


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
@pytest.mark.parametrize("mode", [fused.PREDICT, fused.SCORE])
def test_nor_does_a_pass(monkeypatch, mode, order):
    expected = fused._pass(make_job(1100), mode)
    monkeypatch.setattr(team, "in_threads", one_after_the_other(order))
    found = fused._pass(make_job(1100, threads=3), mode)
    np.testing.assert_array_equal(found.losses, expected.losses)
    np.testing.assert_array_equal(found.hits, expected.hits)
    np.testing.assert_array_equal(found.predictions, expected.predictions)


def test_the_input_form_changes_no_bit():
    wide = Dense(16 * SCATTERED_PANELS + 1, "gelu")  # narrower ones sum halves, and even and odd numbers, apart
    sparse, dense = (make_job(layers=[WIDE[0], wide, *WIDE[2:]]) for _ in range(2))
    rows = np.arange(50)
    dense.examples.density = 1.0
    np.testing.assert_array_equal(fused.gradients(sparse, rows)[1], fused.gradients(dense, rows)[1])
    assert sparse.workspace.words[SPARSE]
    assert not dense.workspace.words[SPARSE]


def test_padding_stays_zero():
    _, parameters, state = trained(2, weight_decay=0.1)
    architecture = make_job().architecture
    for flat in (parameters, *state):
        views = architecture.views(flat.copy())
        total = sum(float(np.abs(part).sum(dtype=np.float64)) for pair in views for part in pair)
        assert float(np.abs(flat).sum(dtype=np.float64)) == pytest.approx(total, rel=1e-12)


def test_nan_in_the_weights_is_seen_through_relu():
    job = make_job()
    job.architecture.views(job.parameters)[1][0][0, 0] = np.nan
    assert np.isnan(fused.score(job).loss)


def test_one_compilation_serves_every_architecture_and_input():
    fused.warm()
    kernel, _ = fused.launch.compiled(fused.make, fused._first_call)
    before = len(kernel.overloads)
    for sparse in (True, False):
        trained(2, sparse=sparse)
    job = make_job()
    job.examples.X = job.examples.X.astype(np.float32)
    job.examples.X.flags.writeable = False
    job.examples.labels.flags.writeable = False
    fused.score(job)
    order, steps = np.arange(70), np.array([[0.01, 0.0, 0.0]])
    order.flags.writeable = steps.flags.writeable = False
    fused.train(job, order, 0, 0, steps)
    fused.gradients(job, order[::2])
    assert len(kernel.overloads) == before == 1


def test_a_batch_without_weight_teaches_nothing():
    job = make_job()
    job.examples.weights = np.zeros(70, np.float32)
    totals, gradient = fused.gradients(job, np.arange(10))
    assert totals.weight == 0
    assert not gradient.any()
