"""`fastnn doctor`: facts as tables or as JSON, traps as lines, and an exit code that only a useless Numba changes."""

import json

import pytest
from numba.core import config

from fastnn import doctor as facts_of
from fastnn.kernels import launch


@pytest.fixture
def sound(monkeypatch):
    """The facts of a machine without a trap, which the command is shown instead of this one's."""
    facts = {
        "fused": {"works": True, "reason": None},
        "versions": {"numpy": "2.3.5"},
        "cpu": {
            "model": "[x] CPU",
            "emulated": False,
            "features": ["avx2", "fma"],
            "lanes": 8,
            "caches": {"L1": 2**15},
        },
        "threads": {"cpus": 2, "affinity": 2, "quota": None, "OMP_NUM_THREADS": None, "auto": 2, "load": 0.3},
        "cache": {"folder": "a/b", "entries": 1, "bytes": 5, "state": "fresh", "reason": None, "refused": None},
        "numpy": {"blas": "some", "huge_pages": None},
        "settings": {},
    }
    monkeypatch.setattr("fastnn.cli.doctor.examine", lambda: facts)
    return facts


def test_tables(fastnn, sound):
    sound["settings"]["NUMBA_CPU_NAME"] = ""
    code, out, err = fastnn("doctor")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    for row in ("model [x] CPU", "features avx2, fma", "caches L1 32 KiB", "bytes 5 bytes", "NUMBA_CPU_NAME none"):
        assert row.split() in lines
    assert "quota" not in out  # there is none
    assert "trap: Numba is told to compile for another CPU" in out


def test_no_traps(fastnn, sound):
    assert fastnn("doctor")[1].endswith("no traps seen\n")


def test_json_holds_the_facts_and_the_traps(fastnn, sound):
    sound["threads"]["OMP_NUM_THREADS"] = 1
    code, out, _ = fastnn("doctor", "--json")
    assert code == 0
    found = json.loads(out)
    (trap,) = found.pop("traps")
    assert trap == {"what": "OMP_NUM_THREADS=1 keeps a fit from 2 CPUs", "do": "unset it, or name --threads"}
    assert found == sound


def test_a_long_path_and_a_long_trap_are_not_broken_up(fastnn, sound):
    sound["cache"] |= {"state": "none", "reason": "word " * 40 + "end"}
    assert "word " * 40 + "end" in fastnn("doctor")[1]


def test_this_machine(fastnn, monkeypatch):
    """All that is said of it is there, nothing is compiled, and it can be written as JSON."""
    monkeypatch.setattr(launch, "compiled", lambda *arguments: pytest.fail("this compiles"))
    code, out, err = fastnn("doctor", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["versions"].keys() >= {"fastnn", "python", "numpy", "numba", "llvmlite", "safetensors", "rich"}
    assert found["cpu"]["lanes"] in (4, 8, 16)
    assert 1 <= found["threads"]["auto"] <= found["threads"]["cpus"]
    assert found["cache"]["state"] in ("fresh", "stale", "empty", "none")
    assert found["numpy"]["blas"]
    assert fastnn("doctor")[0] == 0


# Each trap alone: where the facts differ from those of a sound machine, and words that must be said.
TRAPS = [
    ("fused", {"works": False, "reason": "it is broken"}, "the fused backend cannot work: it is broken"),
    ("settings", {"NUMBA_CPU_FEATURES": "-avx2"}, "NUMBA_CPU_FEATURES=-avx2"),
    ("settings", {"NUMBA_OPT": "0"}, "NUMBA_OPT=0; unset it, and delete a/b"),
    ("settings", {"NUMBA_LOOP_VECTORIZE": "0"}, "NUMBA_LOOP_VECTORIZE=0"),
    ("settings", {"NUMBA_BOUNDSCHECK": "1"}, "NUMBA_BOUNDSCHECK=1"),
    ("settings", {"NUMBA_DEBUG_CACHE": "1", "NUMBA_DUMP_IR": "1"}, "NUMBA_DEBUG_CACHE=1, NUMBA_DUMP_IR=1"),
    ("cpu", {"emulated": True}, "by emulation"),
    ("cpu", {"lanes": 4}, "neither AVX-512 nor AVX2"),
    ("cache", {"state": "none", "folder": None, "reason": "not kept: no place"}, "not kept: no place"),
    ("cache", {"refused": "c/d"}, "the cache folder c/d is not used"),
    ("cache", {"state": "empty"}, "run fastnn warmup"),
    ("cache", {"state": "stale"}, "run fastnn warmup"),
    ("threads", {"quota": 1}, "the time of 1 of the 2 CPUs"),
    ("threads", {"OMP_NUM_THREADS": 1}, "OMP_NUM_THREADS=1"),
    ("threads", {"affinity": 1}, "1 of the machine's 2 CPUs"),
    ("threads", {"load": 2.5}, "a load of 2.5 on 2 CPUs"),
    ("versions", {"numpy": "2.3.4"}, "NumPy 2.3.4"),
    ("settings", {"OPENBLAS_CORETYPE": "Prescott"}, "OPENBLAS_CORETYPE=Prescott"),
]


@pytest.mark.parametrize(("section", "odd", "words"), TRAPS)
def test_each_trap(sound, section, odd, words):
    sound[section] |= odd
    (trap,) = facts_of.find_traps(sound)
    assert words in f"{trap['what']}; {trap['do']}"


def test_every_trap_is_tried(sound):
    seen = set()
    for section, odd, _ in TRAPS:
        facts = {name: {**values, **odd} if name == section else values for name, values in sound.items()}
        seen |= {trap for trap in facts_of.TRAPS if trap.sees(facts)}
    assert seen == set(facts_of.TRAPS)


def test_no_trap_on_arm64(sound):
    sound["cpu"] |= {"lanes": 4, "features": ["neon"]}
    assert facts_of.find_traps(sound) == []


@pytest.mark.parametrize(
    ("model", "machine", "system", "expected"),
    [
        ("Apple M2", "x86_64", "Darwin Kernel Version 23.1: root:xnu-1~1/RELEASE_ARM64_T8112", True),
        ("VirtualApple @ 2.50GHz", "x86_64", "#1 SMP", True),
        ("Apple M2", "arm64", "Darwin Kernel Version 23.1: root:xnu-1~1/RELEASE_ARM64_T8112", False),
        ("AMD EPYC", "x86_64", "#1 SMP", False),
    ],
)
def test_emulation(model, machine, system, expected):
    assert facts_of._emulated(model, machine, system) == expected


def test_settings_are_those_that_are_not_as_usual(monkeypatch):
    for name, attribute, usual in facts_of.NUMBA_SETTINGS:
        assert hasattr(config, attribute), f"Numba has no setting {name} any more"
        monkeypatch.setattr(config, attribute, usual)
    for name in ("NUMBA_DEBUG_CACHE", *facts_of.NUMPY_SETTINGS):
        monkeypatch.delenv(name, raising=False)
    assert facts_of._settings() == {}
    monkeypatch.setattr(config, "OPT", 0)
    monkeypatch.setattr(config, "CPU_FEATURES", "")
    monkeypatch.setenv("NUMBA_DEBUG_CACHE", "1")
    assert facts_of._settings() == {"NUMBA_OPT": "0", "NUMBA_CPU_FEATURES": "", "NUMBA_DEBUG_CACHE": "1"}


def test_without_a_compiler_it_ends_with_1(fastnn, monkeypatch):
    monkeypatch.setattr(config, "DISABLE_JIT", 1)
    code, out, err = fastnn("doctor")
    assert (code, err) == (1, "")
    assert "trap: the fused backend cannot work: NUMBA_DISABLE_JIT is set; unset it" in out


def test_without_numba_it_still_says_what_there_is(fastnn, monkeypatch):
    monkeypatch.setattr(facts_of, "fused_fault", lambda: "Numba cannot be used")
    monkeypatch.setattr(facts_of, "_numba_config", lambda: None)
    code, out, _ = fastnn("doctor")
    assert code == 1
    assert "model" in out
    assert "trap: the fused backend cannot work: Numba cannot be used" in out


def test_a_broken_numba_is_named(monkeypatch):
    def broken(name):
        raise ImportError("cannot load\nlibLLVM")

    monkeypatch.setattr(facts_of, "backend", broken)
    assert facts_of.fused_fault().startswith("Numba cannot be used (ImportError: cannot load libLLVM)")


def test_a_cache_that_is_refused_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(launch, "others_may_write", lambda folder: tmp_path not in folder.parents)
    found = facts_of._cache()
    if found["refused"] is None:
        pytest.skip("there is no cache beside the sources")
    assert found["refused"].endswith("__pycache__")
    assert found["folder"].startswith(str(tmp_path))
    assert found["state"] == "empty"
