"""fastnn side by side with its peers, all of them training the same nets: ``python -m benchmarks.peers``.

Nothing is imported here: a contestant's process comes through this file before it is pinned to its CPUs.
"""
