"""Faults that a user can mend. Each message is one line: what is wrong, where, and what to do."""


class FastnnError(Exception):
    """Base of all errors that fastnn raises on purpose.

    Attributes
    ----------
    exit_code : int
        What the command line ends with when this error stops it.
    """

    exit_code = 2


class DataError(FastnnError, ValueError):
    """Data that cannot be trained or judged on: a bad file, bad labels, a shape that does not fit."""


class ModelFileError(FastnnError, ValueError):
    """A model file that is cut short, altered, or not a model."""


class ConfigError(FastnnError, ValueError):
    """A setting that is unknown, out of range, or contradicts another."""


class OutputError(FastnnError, OSError):
    """A file or folder that cannot be written."""


class MissingExtraError(FastnnError, ImportError):
    """An optional package is not installed; the message holds the command that brings it."""


class DivergedError(FastnnError, ArithmeticError):
    """The loss or a weight became NaN or infinite.

    Parameters
    ----------
    message : str
        One line that names the epoch and the likely cause.
    epoch : int
        The epoch (from 1) in which it happened.
    """

    exit_code = 3

    def __init__(self, message: str, epoch: int):
        super().__init__(message)
        self.epoch = epoch
