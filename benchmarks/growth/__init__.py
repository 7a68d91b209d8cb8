"""What growth costs: an epoch's time by samples, width, depth, batch and threads, and the peak of memory by samples.

``python -m benchmarks.growth`` measures and draws all of it; benchmarks/scaling.py watches a few points of it.
"""
