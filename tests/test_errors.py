import inspect

import pytest

from fastnn import errors

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass)]


def test_each_error_is_a_fastnn_error_and_one_of_pythons_own() -> None:
    assert len(CLASSES) >= 7
    for kind in CLASSES:
        assert issubclass(kind, errors.FastnnError)
        if kind is not errors.FastnnError:
            assert any(issubclass(kind, own) for own in (ValueError, OSError, ImportError, ArithmeticError))


@pytest.mark.parametrize("kind", CLASSES)
def test_exit_codes(kind: type[errors.FastnnError]) -> None:
    assert kind.exit_code == (3 if kind is errors.DivergedError else 2)


def test_divergence_knows_its_epoch() -> None:
    error = errors.DivergedError("the loss became NaN in epoch 3", 3)
    assert (str(error), error.epoch) == ("the loss became NaN in epoch 3", 3)
