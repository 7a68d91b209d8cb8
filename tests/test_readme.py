"""Every block of the README runs: Python as it stands, commands in a folder of their own."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastnn.data import load

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, flags=re.M | re.S)

# What takes minutes, installs, or wants an idle machine, and how it is shown to be there instead. `.ci/run` and other
# tests run most of it.
INSTEAD = {
    "pip install": None,
    "python -m pytest": None,
    "pytest tests": None,
    "python -m benchmarks": None,
    "asv": None,
    "fastnn reproduce": "fastnn reproduce --help",
    "fastnn roofline": "fastnn roofline --help",
    "fastnn train --recipe b-augmented --epochs 60": "fastnn train --recipe b-augmented --epochs 1 --out recipe",
    "fastnn train --hidden 300,100": "fastnn train --hidden 30,10 --epochs 2 --patience 3 --out runs/deep",
    "fastnn train --resume runs/deep": "fastnn train --resume runs/deep --epochs 3",
    "fastnn tune": "fastnn tune --epochs 1 --trials 2 --search dropout --storage sqlite:///study.db",
}


def test_every_kind_of_block_is_run():
    assert {kind for kind, _ in BLOCKS} == {"bash", "console", "python", "text", "toml"}


def run(words, folder, **settings):
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | settings
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
    words = shlex.split(command if found is None else INSTEAD[found] or "")
    if not words:
        program, *rest = command.split()
        assert shutil.which(program)
        if rest[0] == "-m" and rest[1].startswith("benchmarks"):
            path = ROOT / rest[1].replace(".", "/")
            assert path.is_dir() or path.with_suffix(".py").exists()
        return
    assert words[0] in ("fastnn", "python")
    run(["-m", *words] if words[0] == "fastnn" else words[1:], place)


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
