"""What a command may write a model to."""

import os

from fastnn.errors import ConfigError


def not_itself(model: str, file: str) -> None:
    """Refuse to write what is made of a model in its place; ConfigError."""
    if os.path.exists(model) and os.path.exists(file) and os.path.samefile(model, file):
        raise ConfigError(f"{file}: is the model itself; write to another file")
