"""``python -m fastnn.train`` is ``fastnn train``."""

import sys

from fastnn.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
