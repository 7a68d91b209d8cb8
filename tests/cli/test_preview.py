"""``fastnn preview``: images before and after augmentation; and ``--augment`` in one word."""

import numpy as np
import pytest

from fastnn.augment import Augment
from tests.cli.test_inspect import images  # noqa: F401
from tests.samples import pictures


def test_the_picture(fastnn, images, tmp_path):  # noqa: F811
    path = tmp_path / "preview.png"
    code, out, err = fastnn("preview", "--data", images, "--augment", "shift=1,rotate=20,elastic=8/2", "--out", path)
    assert (code, err) == (0, "")
    assert f"10 images, and 5 times what becomes of them, are in {path}" in out
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_picture_shows_what_epochs_see(fastnn, images, monkeypatch):  # noqa: F811
    asked = []
    monkeypatch.setattr("fastnn.pictures.grid", lambda *given: asked.append(given))
    assert fastnn("preview", "--data", images, "--augment", "shift=1,rotate=20", "--seed", 7)[0] == 0
    ((shown, *_, columns),) = asked
    first, augment = shown[:10].reshape(10, -1), Augment(shift=1, rotate=20)
    assert {row.tobytes() for row in first} <= {row.tobytes() for row in pictures(40)[0]}
    epochs = [augment.apply(first, np.arange(10), (5, 5), seed=7, epoch=epoch) for epoch in range(5)]
    assert columns == 10
    np.testing.assert_array_equal(shown, np.reshape([first, *epochs], (60, 5, 5)))
    assert len({row.tobytes() for row in shown.reshape(6, -1)}) == 6  # each epoch sees others


def test_there_must_be_something_to_show(refused, images):  # noqa: F811
    assert "there is nothing to show" in refused("preview", "--data", images)


def test_an_image_may_be_named(fastnn, tmp_path):
    np.savez(tmp_path / "flat.npz", X=np.arange(60, dtype=np.uint8).reshape(5, 12), y=np.arange(5) % 2)
    words = ("preview", "--data", tmp_path / "flat.npz", "--augment", "shift=1", "--out", tmp_path / "p.png")
    assert fastnn(*words, "--image", "3x4")[0] == 0
    assert fastnn(*words, "--image", "3,4")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("shfit=4", "did you mean shift?"),
        ("shift", "must be such as"),
        ("shift=a lot", "shift must be a number from 0"),
        ("elastic=34", "elastic must be nothing, or two numbers"),
        ("scale=1", "scale must be"),
    ],
)
def test_what_augment_does_not_take(refused, words, message):
    assert message in refused("preview", "--augment", words)


def test_an_augmentation_needs_images(refused, table, tmp_path):
    assert "--image HxW" in refused("train", "--data", table, "--augment", "shift=1", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_title_says_it_as_the_option_does(fastnn, images, tmp_path, monkeypatch):  # noqa: F811
    titles = []
    monkeypatch.setattr("fastnn.pictures.before_and_after", lambda *given: titles.append(given[-1]))
    assert (
        fastnn("preview", "--data", images, "--augment", "shift=1.5,elastic=34/4", "--out", tmp_path / "a.png")[0] == 0
    )
    assert titles == ["shift=1.5,elastic=34/4"]


@pytest.mark.parametrize("command", ["preview", "train"])
def test_a_shift_beyond_the_image_is_refused(refused, images, tmp_path, command):  # noqa: F811
    words = ("--data", images, "--augment", "shift=5", "--out", tmp_path / "out")
    assert "an image of 5 x 5 out of sight; give less than 5" in refused(command, *words)
    assert not (tmp_path / "out").exists()
