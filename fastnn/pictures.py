"""Grids of images: what a model was most wrong about, samples of a data set, digits before and after augmentation.

Letters: N samples, I inputs.
"""

import os
from collections.abc import Sequence

import numpy as np

from fastnn.plots import MUTED, caption, picture, shorten

COLUMNS, TILE = 6, 1.45  # images in a row; inches from one to the next


def grid(
    images: np.ndarray,
    titles: Sequence[str],
    notes: Sequence[str],
    path: str | os.PathLike[str],
    heading: str,
    footing: str,
    columns: int = COLUMNS,
    colours: str = "gray",
) -> None:
    """Draw images in rows.

    Parameters
    ----------
    images : array (N, h, w)
    titles, notes : N texts each
        What stands above an image, at its left in bold and at its right.
    path : path-like
        The PNG file to write.
    heading, footing : str
        Above and below all.
    columns : int
        Images of a row.
    colours : str
        Matplotlib's name of the colours; those that diverge have their middle at 0.

    Raises
    ------
    MissingExtraError
        Matplotlib is not installed.
    OutputError
        The file cannot be written.
    """
    columns = min(len(images), columns)
    rows = -(-len(images) // columns)
    lines = max(title.count("\n") + (title > "") for title in titles)
    size, inch = 9 if lines < 2 else 8, images.shape[2] / (0.9 * TILE)  # pixels of an image to an inch
    wide, high = TILE * inch, images.shape[1] + (0.14 + 0.16 * lines) * inch
    low, top = images.min(), images.max()
    if colours != "gray":
        top = max(top, -low)
        low = -top
    with picture(path, max(TILE * columns, 4.5), rows * high / inch + 0.7) as figure:
        # one system of axes for all: with one for each image, three pictures took 8 s of the 10 s of a training
        axes = figure.subplots()
        axes.set_axis_off()
        for number, (image, title, note) in enumerate(zip(images, titles, notes, strict=True)):
            x, y = number % columns * wide, (number // columns + 1) * high
            right, above = x + images.shape[2], y - images.shape[1]
            axes.imshow(image, cmap=colours, vmin=low, vmax=top, extent=(x, right, y, above))
            axes.text(x, above - 0.04 * inch, title, size=size, weight="bold", va="bottom")
            axes.text(right, above - 0.04 * inch, note, size=8, color=MUTED, ha="right", va="bottom")
        axes.set(xlim=(0, columns * wide - 0.1 * TILE * inch), ylim=(rows * high, 0.1 * inch), aspect="equal")
        caption(figure, heading, footing)


def mistakes(
    X: np.ndarray,
    image: tuple[int, int],
    true: np.ndarray,
    predicted: np.ndarray,
    probability_of_predicted: np.ndarray,
    classes: Sequence[str],
    path: str | os.PathLike[str],
    count: int = 36,
) -> None:
    """Show the worst errors: the images that a wrong class was given with the highest probability.

    Parameters
    ----------
    X : array (N, I)
        Raw pixels.
    image : (int, int)
        Height and width; their product is I.
    true, predicted : int array (N,)
        Indices into `classes`.
    probability_of_predicted : float array (N,)
        What the model gave to the class that it chose.
    classes : sequence of str
        Names by index.
    path : path-like
        The PNG file to write.
    count : int
        How many to show at most.

    Raises
    ------
    MissingExtraError
        Matplotlib is not installed.
    OutputError
        The file cannot be written.
    """
    wrong = np.flatnonzero(np.asarray(true) != np.asarray(predicted))
    probability = np.asarray(probability_of_predicted)
    shown = wrong[np.argsort(-probability[wrong], kind="stable")][:count]
    if not shown.size:
        with picture(path, 6.0, 2.4) as figure:
            figure.text(0.5, 0.58, "No mistakes", size=16, weight="bold", ha="center")
            figure.text(0.5, 0.4, f"all {len(X):,} examples are classified right", color=MUTED, ha="center")
        return
    arrow = " → " if max(len(str(name)) for name in classes) <= 3 else "\n→ "
    titles = [arrow.join(shorten(str(classes[k]), 10) for k in (true[sample], predicted[sample])) for sample in shown]
    notes = [f"{100 * probability[sample]:.1f}%" for sample in shown]
    footing = "worst first: true → predicted class,\nand the probability that was given to it"
    grid(X[shown].reshape(-1, *image), titles, notes, path, f"{wrong.size:,} of {len(X):,} wrong", footing)


def predictions(
    X: np.ndarray,
    image: tuple[int, int],
    true: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    path: str | os.PathLike[str],
    count: int = 36,
) -> None:
    """Show the first images, what they were taken for, and with what probability.

    Parameters
    ----------
    X, image, true, classes, path, count
        As for `mistakes`; errors too.
    probabilities : float array (N, K)
    """
    shown, predicted = slice(count), probabilities.argmax(axis=1)
    names = [shorten(str(classes[index]), 8) for index in predicted[shown]]
    right = true[shown] == predicted[shown]
    wrong = [f" ({shorten(str(classes[index]), 8)})" for index in true[shown]]
    titles = [name if good else name + other for name, good, other in zip(names, right, wrong, strict=True)]
    notes = [f"{100 * value:.1f}%" for value in probabilities.max(axis=1)[shown]]
    footing = "predicted class, the true one in brackets where it is another,\nand the probability that was given"
    heading = f"{right.sum()} of {len(right)} right"
    grid(X[shown].reshape(-1, *image), titles, notes, path, heading, footing)


def samples(
    X: np.ndarray,
    image: tuple[int, int],
    labels: Sequence[str],
    path: str | os.PathLike[str],
    heading: str,
    footing: str,
    columns: int = COLUMNS,
) -> None:
    """Show images with their labels; parameters and errors as of `grid`."""
    titles = [shorten(label, 12) for label in labels]
    grid(X.reshape(-1, *image), titles, [""] * len(X), path, heading, footing, columns)


def before_and_after(
    X: np.ndarray, changed: Sequence[np.ndarray], image: tuple[int, int], path: str | os.PathLike[str], heading: str
) -> None:
    """Show images, a column each, and under them what augmentation makes of them, a row each time.

    Parameters
    ----------
    X : array (N, I)
    changed : sequence of arrays (N, I)
    image, path, heading
        As for `grid`; errors too.
    """
    rows = np.stack([X, *changed]).reshape(-1, *image)
    footing = "above: as they are; below: what epochs see"
    grid(rows, [""] * len(rows), [""] * len(rows), path, heading, footing, len(X))


def weights(W: np.ndarray, image: tuple[int, int], path: str | os.PathLike[str], count: int = 48) -> None:
    """Show what the first layer's units look for: the weights of each as an image, the longest first.

    Parameters
    ----------
    W : array (I, O)
    image, path, count
        As for `mistakes`; errors too.
    """
    order = np.argsort(-np.linalg.norm(W, axis=0), kind="stable")[:count]
    footing = "blue: what speaks for a unit; red: what speaks against it"
    heading = f"{len(order)} of {W.shape[1]} units of the first layer"
    grid(W.T[order].reshape(-1, *image), [f"{unit}" for unit in order], [""] * len(order), path, heading, footing, 8,
         "RdBu")  # fmt: skip
