"""What fastnn costs and what it reaches, for airspeed velocity: ``asv machine --yes && asv run``.

The kernels one by one are timed by pytest-benchmark, in tests/kernels/test_benchmarks.py.
"""
