"""Every block of the README runs: Python as it stands, commands in a folder of their own."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fastnn.data import load

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, flags=re.M | re.S)

# What takes minutes or installs, or would run this very test, and what is run instead: the same command, shortened, or
# what it says of itself. `.ci/run` runs the blocks that install and test as they are.
INSTEAD = {
    "pip install": "",
    "python -m pytest": "python -m pytest --collect-only --quiet tests/test_files.py",
    "pytest tests/kernels/test_benchmarks.py": "python -m pytest tests/kernels/test_benchmarks.py -k predict-reference "
    "--benchmark-enable --benchmark-autosave --benchmark-storage=file://{place}/pytest",
    "asv machine": "python -m asv machine --help",
    "asv run": "python -m asv check -E existing",
    "asv publish": "python -m asv publish --help",
    "asv preview": "python -m asv preview --help",
    "fastnn reproduce": "fastnn reproduce --help",
    "fastnn roofline": "fastnn roofline --help",
    "fastnn train --recipe b-augmented --epochs 60": "fastnn train --recipe b-augmented --epochs 1 --out recipe",
    "fastnn train --hidden 300,100": "fastnn train --hidden 30,10 --epochs 2 --patience 3 --out runs/deep",
    "fastnn train --resume runs/deep": "fastnn train --resume runs/deep --epochs 3",
    "fastnn tune": "fastnn tune --epochs 1 --trials 2 --search dropout --storage sqlite:///study.db",
}
OF_THE_PROJECT = ("benchmarks", "pytest", "asv")  # modules that want to be run in its folder


def test_every_kind_of_block_is_run():
    assert {kind for kind, _ in BLOCKS} == {"bash", "console", "python", "text", "toml"}


def run(words, folder, **settings):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "ASV_PYTHONPATH": str(ROOT)} | settings
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stdout} {done.stderr}"
    return done.stdout


@pytest.mark.parametrize("code", [code for kind, code in BLOCKS if kind == "python"], ids=["short", "long", "sklearn"])
def test_python(code, tmp_path):
    assert run(["-c", code], tmp_path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder that has the files which the README's commands speak of."""
    folder = tmp_path_factory.mktemp("readme")
    _, test = load("mnist")
    lines = ["a,b,species", *(f"{k % 7},{k % 5}.5,{'iris' if k % 2 else 'rose'}" for k in range(60))]
    (folder / "flowers.csv").write_text("\n".join(lines) + "\n")
    pixels = "\n".join(",".join(map(str, row)) for row in test.X[:5].tolist())
    for name in ("new.csv", "digits.csv"):
        (folder / name).write_text(pixels + "\n")
    for number, (kind, code) in enumerate(BLOCKS):
        if kind == "toml":
            (folder / f"settings{number}.toml").write_text(code)
    return folder


def commands():
    for kind, code in BLOCKS:
        if kind in ("bash", "console"):
            for line in code.replace("\\\n", " ").splitlines():
                for one in line.partition("#")[0].split("&&"):
                    if one.strip():
                        yield " ".join(one.split())


@pytest.mark.parametrize("command", list(commands()))
def test_command(command, place):
    found = next((start for start in sorted(INSTEAD, key=len, reverse=True) if command.startswith(start)), None)
    words = shlex.split(command if found is None else INSTEAD[found].format(place=place))
    if not words:
        extras = re.findall(r"\w+", command.partition("[")[2])
        assert set(extras) <= EXTRAS
        return
    words = ["-m", *words] if words[0] == "fastnn" else words[1:]
    assert words[0] == "-m"
    if words[1].startswith("benchmarks."):
        words = [*words[:2], "--help"]
    run(words, ROOT if words[1].partition(".")[0] in OF_THE_PROJECT else place)


def test_settings(place):
    files = list(place.glob("settings*.toml"))
    assert files
    for path in files:
        run(["-m", "fastnn", "train", "--config", path.name, "--epochs", "1", "--out", path.stem], place)


def test_no_figure_is_left_out():
    assert re.findall(r"\b(?:HEAD|SK)_[A-Z]+", TEXT) == []


def test_links_lead_somewhere():
    titles = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", TEXT, re.M)}
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in titles, target
        elif "://" not in target:
            assert (ROOT / target).exists(), target
