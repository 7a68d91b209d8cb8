import subprocess
import sys

import matplotlib
import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from fastnn import pictures, plots
from fastnn.callbacks import History
from fastnn.errors import MissingExtraError, OutputError

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, to look at what is on them."""
    figures = []
    save = Figure.savefig

    def keep(figure, *args, **kwargs):
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def history(epochs=4, **columns):
    usual = {
        "learning_rate": [0.1] * epochs,
        "loss": [0.5 - 0.1 * e for e in range(epochs)],
        "accuracy": [0.8 + 0.04 * e for e in range(epochs)],
    }
    usual |= columns
    return [{"epoch": e + 1} | {key: values[e] for key, values in usual.items()} for e in range(epochs)]


def lines(axes):
    return {line.get_label(): list(line.get_ydata()) for line in axes.lines if not line.get_label().startswith("_")}


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG") and np.ptp(matplotlib.image.imread(path)) > 0


# ---------------------------------------------------------------- curves


def test_curves_show_each_series_in_its_panel(drawn, tmp_path):
    records = history(val_loss=[0.6, 0.4, 0.3, 0.2], val_accuracy=[0.7, 0.75, 0.9, 0.85], learning_rate=[4, 3, 2, 1])
    plots.curves(records, tmp_path / "curves.png")
    assert is_png(tmp_path / "curves.png")
    loss, accuracy, rate = drawn[0].axes
    titles = [axes.get_title(loc="left") for axes in drawn[0].axes]
    assert titles == ["Loss", "Accuracy", "Learning rate"]
    assert lines(loss) == {
        "training": [r["loss"] for r in records],
        "validation": [0.6, 0.4, 0.3, 0.2],
        "best: epoch 3": [0.3],
    }
    assert lines(accuracy) == {
        "training": [r["accuracy"] for r in records],
        "validation": [0.7, 0.75, 0.9, 0.85],
        "best: epoch 3": [0.9],
    }
    assert lines(rate) == {"rate": [4, 3, 2, 1]}
    assert loss.lines[0].get_xdata().tolist() == [1, 2, 3, 4]


def test_curves_leave_out_what_says_nothing(drawn, tmp_path):
    plots.curves(history(accuracy=[None] * 4), tmp_path / "curves.png")
    (loss,) = drawn[0].axes
    assert list(lines(loss)) == ["training"]


def test_the_marked_epoch_is_the_one_that_is_kept_as_the_model(drawn, tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(5):  # few different accuracies, so that the loss decides, and now and then nothing does
        loss, accuracy = rng.integers(1, 3, 8) / 4, rng.integers(1, 3, 8) / 4
        records = history(8, accuracy=accuracy, loss=loss, val_loss=loss, val_accuracy=accuracy)
        plots.curves(records, tmp_path / "curves.png")
        assert f"best: epoch {1 + History(records).best}" in lines(drawn[-1].axes[0])


def test_best_epoch_of_a_regression_is_that_of_the_lowest_validation_loss(drawn, tmp_path):
    none = [None] * 4
    plots.curves(history(accuracy=none, val_accuracy=none, val_loss=[0.6, 0.1, NAN, 0.3]), tmp_path / "curves.png")
    assert lines(drawn[0].axes[0])["best: epoch 2"] == [0.1]


def test_a_loss_that_falls_far_gets_a_logarithmic_scale(drawn, tmp_path):
    plots.curves(history(loss=[1.0, 0.1, 0.01, 0.001]), tmp_path / "far.png")
    plots.curves(history(loss=[1.0, 0.5, 0.2, 0.1]), tmp_path / "near.png")
    plots.curves(history(loss=[1.0, 0.5, 0.2, 0.0]), tmp_path / "zero.png")
    plots.curves(history(loss=[1.0, 0.5, 0.2, INF]), tmp_path / "infinite.png")
    assert [figure.axes[0].get_yscale() for figure in drawn] == ["log", "linear", "linear", "linear"]
    drawn[0].draw_without_rendering()
    labels = [label.get_text() for label in drawn[0].axes[0].get_yticklabels()]
    assert "0.01" in labels  # mathematical text is off, so "$10^{-2}$" would be shown as it is


@pytest.mark.parametrize(
    "records",
    [
        [],
        history(epochs=1),
        history(epochs=1, loss=[NAN]),
        history(loss=[0.5, None, NAN, INF], val_loss=[None] * 4, val_accuracy=[NAN] * 4),
        history(accuracy=[INF] * 4, learning_rate=[None] * 4),
        history(epochs=200, val_loss=[1.0] * 200),
    ],
    ids=["no epoch", "one epoch", "diverged at once", "diverged", "nothing finite", "many epochs"],
)
def test_curves_of_any_history(records, tmp_path):
    plots.curves(records, tmp_path / "curves.png")
    assert is_png(tmp_path / "curves.png")


# ---------------------------------------------------------------- confusion

TRUE = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 0, 2, 1, 0, 2])


def test_confusion_counts_true_classes_in_rows(drawn, tmp_path):
    plots.confusion(TRUE, PREDICTED, ["ant", "bee", "cat", "dog"], tmp_path / "confusion.png")
    assert is_png(tmp_path / "confusion.png")
    axes = drawn[0].axes[0]
    cells = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "2", (0, 2): "1", (1, 0): "1", (1, 1): "1", (2, 2): "1"}
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("true", "predicted")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ant", "bee", "cat", "dog"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first class is on top"
    shares = [label.get_text() for label in axes.child_axes[0].get_yticklabels()]
    assert shares == ["66.7%", "50.0%", "100.0%", "none"]
    assert drawn[0].get_suptitle() == "4 of 6 right"
    hits, errors = (image.get_array() for image in axes.images)
    assert hits[0, 0] == pytest.approx(2 / 3)
    assert errors[1, 0] == pytest.approx(1 / 2), "coloured by the share of the row"
    assert "at most 50%" in drawn[0].get_supxlabel()


@pytest.mark.parametrize("n", [2, 10, 30, 31, 100, 500])
def test_confusion_of_few_and_many_classes(n, drawn, tmp_path):
    rng = np.random.default_rng(n)
    true, predicted = rng.integers(0, n, (2, 4 * n))
    plots.confusion(true, predicted, [f"class {k}" for k in range(n)], tmp_path / "confusion.png")
    height, width = matplotlib.image.imread(tmp_path / "confusion.png").shape[:2]
    assert max(height, width) <= 2000
    axes = drawn[0].axes[0]
    assert bool(axes.texts) == (n <= 30)
    assert len(axes.get_yticklabels()) <= 120
    assert [label.get_text() for label in axes.get_yticklabels()][:1] == ["class 0"]


def test_a_perfect_model_has_no_orange_and_no_warning(tmp_path):
    plots.confusion(TRUE, TRUE, ["a", "b", "c"], tmp_path / "confusion.png")
    red, _, blue = np.moveaxis(matplotlib.image.imread(tmp_path / "confusion.png")[..., :3], -1, 0)
    assert (blue - red > 0.3).any()
    assert not (red - blue > 0.3).any()


def test_names_are_shown_as_they_are(drawn, tmp_path):
    names = ["$5", r"$\frac$", "猫", "a name that goes on and on"]
    plots.confusion(np.arange(4), np.arange(4), names, tmp_path / "confusion.png")
    shown = [label.get_text() for label in drawn[0].axes[0].get_yticklabels()]
    assert shown == ["$5", r"$\frac$", "猫", "a name that goe…"]


# ---------------------------------------------------------------- mistakes


def test_mistakes_show_the_surest_errors_first(drawn, tmp_path):
    X = np.arange(6 * 6, dtype=np.uint8).reshape(6, 6)
    sure = np.array([0.9, 0.9, 0.6, 0.9, 0.8, 0.9])
    pictures.mistakes(X, (2, 3), TRUE, PREDICTED, sure, ["a", "b", "c"], tmp_path / "mistakes.png")
    assert is_png(tmp_path / "mistakes.png")
    (axes,) = drawn[0].axes
    assert [text.get_text() for text in axes.texts] == ["b → a", "80.0%", "a → c", "60.0%"]
    assert axes.images[0].get_array().tolist() == X[4].reshape(2, 3).tolist()
    assert drawn[0].get_suptitle() == "2 of 6 wrong"


def test_mistakes_fill_a_grid_of_36(drawn, tmp_path):
    N = 50
    sure = np.linspace(0.3, 0.8, N)
    sure[7] = NAN
    X = np.random.default_rng(0).random((N, 16), dtype=np.float32)
    pictures.mistakes(X, (4, 4), np.zeros(N, int), np.ones(N, int), sure, ["Pullover", "Shirt"], tmp_path / "m.png")
    (axes,) = drawn[0].axes
    places = [image.get_extent() for image in axes.images]
    assert len({left for left, _, _, _ in places}) == len({top for _, _, _, top in places}) == 6
    assert len(places) == len(set(map(tuple, places))) == 36
    assert [text.get_text() for text in axes.texts[:4]] == ["Pullover\n→ Shirt", "80.0%", "Pullover\n→ Shirt", "79.0%"]


def test_without_mistakes_the_picture_says_so(drawn, tmp_path):
    pictures.mistakes(np.zeros((6, 4)), (2, 2), TRUE, TRUE, np.ones(6), ["a", "b", "c"], tmp_path / "mistakes.png")
    assert [text.get_text() for text in drawn[0].texts] == ["No mistakes", "all 6 examples are classified right"]
    assert is_png(tmp_path / "mistakes.png")


# ---------------------------------------------------------------- all three


def test_a_users_own_style_neither_changes_the_picture_nor_is_changed(tmp_path):
    plots.curves(history(), tmp_path / "plain.png")
    with matplotlib.rc_context({"axes.facecolor": "black", "text.usetex": True, "lines.linewidth": 9}):
        keys = matplotlib.rcParams.keys() - {"backend"}  # which is chosen when it is looked at
        before = {key: matplotlib.rcParams[key] for key in keys}
        plots.curves(history(), tmp_path / "styled.png")
        assert before == {key: matplotlib.rcParams[key] for key in keys}
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "styled.png").read_bytes()


def test_pyplot_stays_out(tmp_path):
    code = (
        "import sys; from fastnn import pictures, plots; assert 'matplotlib' not in sys.modules; "
        f"plots.curves([], {str(tmp_path / 'curves.png')!r}); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_without_matplotlib_the_error_holds_the_command_that_brings_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fastnn-cpu\[plot\]'"):
        plots.curves(history(), tmp_path / "curves.png")


def test_a_picture_that_cannot_be_written(tmp_path):
    with pytest.raises(OutputError, match="absent"):
        plots.confusion(TRUE, PREDICTED, ["a", "b", "c"], tmp_path / "absent" / "confusion.png")


# ---------------------------------------------------------------- roofline


def test_roofline_shows_each_roof_and_each_kernel(drawn, tmp_path):
    kernels = [
        {"name": name, "intensity": x, "gflops": y, "share": y / 100} for name, x, y in (("a", 1, 5), ("b", 8, 40))
    ]
    bandwidths = {"L1": 200.0, "memory": 10.0}
    report = {"threads": 1, "peak": 100.0, "tile_peak": 90.0, "bandwidths": bandwidths, "kernels": kernels}
    plots.roofline([report, report | {"threads": 2, "peak": 200.0}], tmp_path / "roof.png")
    assert is_png(tmp_path / "roof.png")
    one, two = drawn[0].axes
    assert [axes.get_title(loc="left") for axes in (one, two)] == ["1 thread: 100 GFLOP/s", "2 threads: 200 GFLOP/s"]
    roofs = [line for line in one.lines if "GB/s" in line.get_label()]
    assert [line.get_label() for line in roofs] == ["L1: 200 GB/s", "memory: 10 GB/s"]
    assert [max(line.get_ydata()) for line in roofs] == [100, 100]
    assert [line.get_ydata()[0] / line.get_xdata()[0] for line in roofs] == pytest.approx([200, 10])
    kernels = {label: values for label, values in lines(one).items() if "GB/s" not in label}
    tile = {"with the reads of a tile: 90 GFLOP/s": [90, 90]}
    assert kernels == tile | {"1 a: 5% of its roof": [5], "2 b: 40% of its roof": [40]}


# ---------------------------------------------------------------- sizes of a search


@pytest.mark.parametrize("classes", [True, False])
def test_sizes_show_every_trial_and_the_legend_covers_none(classes, drawn, tmp_path):
    values = [0.91, 0.975, 0.98] if classes else [-0.4, -0.2, -0.1]
    states = ["pruned", "complete", "complete"]
    rows = [
        {"number": n, "state": states[n], "cost": 3000 * (n + 1), "value": values[n], "seconds": n} for n in range(3)
    ]
    plots.sizes(rows, 1, tmp_path / "sizes.png", classes)
    assert is_png(tmp_path / "sizes.png")
    (figure,) = drawn
    left, right = figure.axes
    assert left.get_title(loc="left") == ("Validation accuracy" if classes else "Validation loss")
    assert left.get_legend() is right.get_legend() is None
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["pruned", "complete", "chosen"]
    assert legend.get_window_extent().y1 < min(axes.get_window_extent().y0 for axes in figure.axes)
    low, high = left.get_ylim()
    shown = [abs(value) for value in values]
    assert low < min(shown) < max(shown) < high
    assert high - low < 1.5 * (max(shown) - min(shown))
    assert left.yaxis.get_major_formatter()(0.975) == ("97.5%" if classes else "0.975")
    assert any(0 < tick - 3000 < 6000 for tick in left.get_xticks()), (
        "costs of less than a power of ten have labels too"
    )
