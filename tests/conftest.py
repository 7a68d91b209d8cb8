"""What holds for all tests: their examples are the same in each run, and no slow minute of a machine is a failure."""

from hypothesis import settings

settings.register_profile("fastnn", derandomize=True, deadline=None)
settings.load_profile("fastnn")
