"""What is paid before the first step, each time in a fresh process: import, compilation, loading what was compiled."""

from fastnn.kernels import backend

READY = "from fastnn.kernels import backend; kernels = backend('fused')"
EMPTY_CACHE = "import os, tempfile; folder = tempfile.TemporaryDirectory(); os.environ['NUMBA_CACHE_DIR'] = folder.name"


class Startup:
    number, repeat, rounds, warmup_time = 1, (3, 7, 5.0), 1, 0
    timeout = 300

    def setup_cache(self):
        """Leave the compiled kernels where the process of timeraw_load_kernels finds them."""
        backend("fused").warm()

    def timeraw_import(self):
        return "import fastnn"

    def timeraw_load_kernels(self):
        """With what an earlier process compiled."""
        return "kernels.warm()", READY

    def timeraw_compile_kernels(self):
        """As the first run on a machine does."""
        return "kernels.warm()", f"{EMPTY_CACHE}; {READY}"

    timeraw_compile_kernels.repeat = 2
