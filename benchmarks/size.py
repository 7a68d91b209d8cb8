"""What the core install takes on disk: ``python -m benchmarks.size`` (a minute; installs into a folder of its own)."""

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import described

ROOT = Path(__file__).parents[1]
GIVEN = ("numba", "llvmlite", "numpy")


def main():
    """Install, weigh, print."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, str(ROOT)]
        subprocess.run(words, check=True)
        weights = {}
        for path in Path(folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                name = path.relative_to(folder).parts[0].split(".")[0].split("-")[0]
                weights[name] = weights.get(name, 0) + path.stat().st_size
        for name, size in sorted(weights.items(), key=lambda item: -item[1]):
            if size > 100_000:
                print(f"{name:<20} {size / 1e6:8.1f} MB")
        others = sum(size for name, size in weights.items() if name not in GIVEN)
        print(f"{'all':<20} {sum(weights.values()) / 1e6:8.1f} MB")
        print(f"{'all but ' + ', '.join(GIVEN):<20} {others / 1e6:8.1f} MB")


if __name__ == "__main__":
    described(__doc__).parse_args()
    main()
