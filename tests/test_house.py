"""The house rules: who may import whom, how long a file may be, what a source may never do, and complete tables."""

import ast
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace

import pytest

import fastnn
from fastnn import data, errors, initializers, kernels, layers, optimizers, schedules
from fastnn.kernels import functions, losses, reference, rows

PACKAGE = Path(fastnn.__file__).parent
ROOT = PACKAGE.parent

# From the ground up. A module (or package) imports only from floors below its own, or from its left on the same floor.
# "fastnn" itself is the contents page; what stands behind it may build on what it offers.
FLOORS = [
    ["errors", "version", "files", "settings", "layers", "initializers", "rng", "data"],
    ["kernels"],
    ["optimizers", "schedules", "augment", "network"],
    ["formats", "plots", "pictures", "metrics", "card"],
    ["callbacks", "pace", "progress", "logs", "training", "imitation", "lbfgs", "parameters"],
    ["leaves", "config", "recipes", "gradcheck", "doctor", "roofline", "model", "perceptron", "estimator", "fastnn"],
    ["runs", "search", "reproduce", "cli", "train", "__main__"],
]
PLACES = {name: (floor, place) for floor, names in enumerate(FLOORS) for place, name in enumerate(names)}

LONGEST = 450  # lines of a file
NO_NAMES = ("utils", "util", "common", "helpers", "misc")
NO_IMPORTS = ("pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib")
NO_CALLS = ("eval", "exec", "compile", "__import__")
LATE = (
    "numba",
    "matplotlib",
    "rich",
    "sklearn",
    "scipy",
)  # slow to import, or extras: not for those who only say `import fastnn`


# ---------------------------------------------------------------- reading the sources


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def at_run_time(node: ast.AST, deep: bool = True) -> Iterator[ast.AST]:
    """All nodes below, or those just below, but for the bodies of ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            yield from (below for other in child.orelse for below in ast.walk(other))
        else:
            yield child
            yield from at_run_time(child) if deep else ()


def imports(module: str) -> set[str]:
    """The modules of this package that a module imports, in functions too."""
    found = set()
    for node in at_run_time(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} has a relative import in line {node.lineno}; write the whole name"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else str(node.module) for name in inside}
    return {name for name in found if name.split(".")[0] == "fastnn"}


def unit(module: str) -> str:
    """The row of the table that a module belongs to."""
    return module.split(".")[1] if "." in module else module


# ---------------------------------------------------------------- who imports whom


def test_every_module_has_its_place_and_every_place_its_module():
    assert {unit(module) for module in FILES} == set(PLACES), "FLOORS in this test lacks a module, or has one too many"


@pytest.mark.parametrize("module", FILES)
def test_imports_come_from_below_or_from_the_left(module):
    wrong = [other for other in imports(module) if unit(other) != unit(module)]
    wrong = [other for other in wrong if PLACES[unit(other)] >= PLACES[unit(module)]]
    assert not wrong, f"{module} imports {', '.join(wrong)}, which stands above it or to its right"


def test_no_circle_of_imports_within_a_package():
    try:
        list(TopologicalSorter({module: imports(module) - {module} for module in FILES}).static_order())
    except CycleError as error:
        pytest.fail(f"imports go in a circle: {' -> '.join(error.args[1])}")


def test_type_checking_imports_are_exempt_and_function_level_ones_are_not():
    source = "if TYPE_CHECKING:\n    import a\nelse:\n    import b\ndef f():\n    import c\n"
    names = [node.names[0].name for node in at_run_time(ast.parse(source)) if isinstance(node, ast.Import)]
    assert names == ["b", "c"]


def test_importing_the_package_loads_nothing_slow():
    code = f"import sys, fastnn; sys.exit(', '.join(set({LATE!r}) & sys.modules.keys()) or None)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, f"import fastnn imports {done.stderr.strip()}"


def test_the_contents_page_defines_nothing():
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign)
    others = [node for node in at_run_time(tree("fastnn"), deep=False) if not isinstance(node, allowed)]
    assert [getattr(node, "name", None) for node in others] == ["__getattr__", "__dir__"]  # for names of extras
    assert sorted(fastnn.__all__) == sorted(set(fastnn.__all__))
    assert all(hasattr(fastnn, name) for name in fastnn.__all__)


def test_type_checkers_see_what_is_imported_when_it_is_asked_for():
    code = "\n".join(f"import fastnn; reveal_type(fastnn.{name})" for name in fastnn._LAZY)
    command = [sys.executable, "-m", "mypy", "--config-file=", "--follow-imports=silent", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    revealed = [line for line in done.stdout.splitlines() if "Revealed type" in line]
    assert len(revealed) == len(fastnn._LAZY), done.stdout + done.stderr
    for line, (name, module) in zip(revealed, fastnn._LAZY.items(), strict=True):
        assert f"{module}.{name}" in line, line


# ---------------------------------------------------------------- what a source looks like


def test_no_file_is_long():
    paths = [path for folder in ("fastnn", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert {path: count for path, count in lines.items() if count > LONGEST} == {}


def test_no_drawer_for_everything():
    assert [module for module in FILES if module.rpartition(".")[2] in NO_NAMES] == []


@pytest.mark.parametrize("module", FILES)
def test_nothing_can_run_code_from_data(module):
    assert list(dangers(tree(module))) == []


def dangers(source: ast.AST) -> Iterator[str]:
    for node in ast.walk(source):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
        else:
            names = []
        yield from (f"line {node.lineno} imports {name}" for name in names if name.split(".")[0] in NO_IMPORTS)
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if called in NO_CALLS:
            yield f"line {node.lineno} calls {called}"
        if called in ("np.load", "numpy.load") and keywords.get("allow_pickle") != "False":
            yield f"line {node.lineno} calls np.load without allow_pickle=False"
        if keywords.get("allow_pickle", "False") != "False":
            yield f"line {node.lineno} allows pickles"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import load",
        "def f(x):\n    return eval(x)",
        "np.load(file)",
        "np.load(file, allow_pickle=flag)",
        "np.lib.format.read_array(file, allow_pickle=True)",
    ],
)
def test_the_rule_sees(source):
    assert list(dangers(ast.parse(source)))


@pytest.mark.parametrize("module", FILES)
def test_all_that_is_public_has_a_docstring(module):
    lacking = [name for name, node in public(tree(module), module) if ast.get_docstring(node) is None]
    assert not lacking, f"no docstring: {', '.join(lacking)}"


def public(node: ast.Module | ast.ClassDef, name: str) -> Iterator[tuple[str, ast.Module | ast.ClassDef]]:
    yield name, node
    for child in node.body:
        if isinstance(child, (ast.ClassDef, ast.FunctionDef)) and not child.name.startswith("_"):
            inside = f"{name}.{child.name}"
            if isinstance(child, ast.ClassDef):
                yield from public(child, inside)
            else:
                yield inside, child


# ---------------------------------------------------------------- what docstrings say of the names that users import

SECTION = re.compile(r"^(Parameters|Returns|Raises|Attributes|Notes)\n-+$", re.M)
POINTER = re.compile(r"\b((?:Parameters|Returns|Raises)\b[\w,\s]*) as of `([\w.]+)`")
AS_FOR = re.compile(r"\bas for `([\w.]+)`", re.I)
# (N, I) and the like, which whoever hands over or gets an array wants to know
SIZE = r"(?:\.\.\.|(?:\d+ [+*] )?(?:[A-Z]|\d+|size|slots|steps|epoch|width)(?: [-+*] (?:[A-Z]|\d+))*)"
SHAPE = re.compile(rf"\({SIZE}(?:, {SIZE})*,?(?: with [^)]*)?\)")
ERRORS = {name for name, _ in inspect.getmembers(errors, inspect.isclass)}


def ours(kind: type) -> list[type]:
    """A class and its bases, but for other packages'."""
    return [base for base in kind.__mro__ if base.__module__.split(".")[0] == "fastnn"]


def imported() -> Iterator[tuple[object, object]]:
    """Each function, class and public method of ours that users import, and where names in it are looked up."""
    offered = [(fastnn, dir(fastnn)), (data, data.__all__), (kernels, ["backend"]), (reference, kernels.KERNELS)]
    for one in (getattr(page, name) for page, names in offered for name in names):
        if inspect.isclass(one):
            methods = {getattr(one, key) for base in ours(one) for key in vars(base) if not key.startswith("_")}
            yield from ((method, one) for method in methods if inspect.isroutine(method))
        if inspect.isclass(one) or inspect.isfunction(one):
            yield one, one


def entries(text: str) -> Iterator[tuple[str, str]]:
    """Each entry of a docstring's sections, behind the section's name."""
    _, *parts = SECTION.split(text)
    for head, section in zip(parts[::2], parts[1::2], strict=True):
        yield from ((head, entry) for entry in re.split(r"\n(?=\S)", section.strip()))


def said(one: object, near: object) -> dict[str, set[str]]:
    """The names in each section of a docstring, with those of another one that it points to.

    It can do so by "Parameters and Raises as of `name`", or for a parameter by "as for `name`". What points nowhere
    is a name that begins with a question mark.
    """
    text, found = inspect.cleandoc(one.__doc__ or ""), {}
    places = [near, inspect.getmodule(inspect.unwrap(one)), SimpleNamespace(fastnn=fastnn)]

    def elsewhere(head: str, name: str) -> set[str]:
        there = looked_up(name, places)
        return {} if there is None else said(there, near).get(head, set())

    for head, entry in entries(text):
        names = {name.lstrip("*") for name in re.split(" : |\n", entry)[0].split(", ")}
        for name in AS_FOR.findall(entry):
            names = {known if known in elsewhere(head, name) else f"?{known} of {name}" for known in names}
        found.setdefault(head, set()).update(names)
    for heads, name in POINTER.findall(text):
        for head in re.findall("Parameters|Returns|Raises", heads):
            found.setdefault(head, set()).update(elsewhere(head, name) or {f"?{head} of {name}"})
    return found


def looked_up(name: str, places: list[object]) -> object | None:
    for place in places:
        try:
            return attrgetter(name)(place)
        except AttributeError:
            continue
    return None


def own(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a function's body, but for the functions in it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.Lambda)):
            yield child
            yield from own(child)


def body(function: object) -> list[ast.AST]:
    """The nodes of a function as it is written; none of one that a dataclass made."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None or code.co_filename.startswith("<"):
        return []
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    return list(own(definition))


def unsaid(one: object, near: object) -> list[str]:
    """What the docstring of a function, method or class lacks: arguments, what is returned, shapes, our errors."""
    returned = []
    if not inspect.isclass(one):
        written = returned = body(one)
        arguments = inspect.signature(one).parameters.keys() - {"self"}
    else:
        makers = [base for base in ours(one) if "__init__" in vars(base)]
        arguments = inspect.signature(one).parameters.keys() if makers else set()
        written = [node for base in makers for name in ("__init__", "__post_init__") if name in vars(base)
                   for node in body(vars(base)[name])]  # fmt: skip
    raised = [node.exc for node in written if isinstance(node, ast.Raise) and node.exc]
    raised = {ast.unparse(getattr(error, "func", error)).rpartition(".")[2] for error in raised} & ERRORS
    values = [ast.unparse(node.value) for node in returned if isinstance(node, ast.Return) and node.value]
    known = said(one, near)
    lacking = [name for names in known.values() for name in names if name.startswith("?")]
    lacking += [f"the parameter {name}" for name in arguments - known.get("Parameters", set())]
    if arguments and set(values) - {"None", "self"} and "Returns" not in known:
        lacking.append("Returns")
    for head, entry in entries(inspect.cleandoc(one.__doc__ or "")):
        if head != "Raises" and re.search(r"\b(?:array|matrix)", entry.split("\n")[0]) and not SHAPE.search(entry):
            lacking.append(f"the shape of {entry.split(' : ')[0]}")
    return sorted(lacking + [f"the error {name}" for name in raised - known.get("Raises", set())])


def test_docstrings_of_what_users_import_are_complete():
    found = {f"{one.__module__}.{one.__qualname__}": unsaid(one, near) for one, near in imported()}
    assert not {name: lacking for name, lacking in found.items() if lacking}


def test_the_rule_of_docstrings_sees():
    def f(a, b, c=1, **more):
        """Do. Raises as of `nothing`.

        Parameters
        ----------
        a : int
        b : as for `fastnn.load`
        d : float32 array (Optional)
        """
        if a:
            raise errors.ConfigError("no")
        return lambda: [b, c, more]

    lacking = ["?Raises of nothing", "?b of fastnn.load", "Returns", "the error ConfigError"]
    assert unsaid(f, f) == [*lacking, *(f"the parameter {name}" for name in ("b", "c", "more")), "the shape of d"]


# ---------------------------------------------------------------- tables


def classes(module, base: type) -> set[str]:
    """The names of all classes of a module that can be chosen by name."""
    found = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if issubclass(kind, base)]
    return {kind.__dict__["name"] for kind in found if "name" in kind.__dict__ and not inspect.isabstract(kind)}


TABLES = {
    "activation": {
        "layers.ACTIVATIONS": layers.ACTIVATIONS,
        "kernels.functions.ACTIVATIONS": functions.ACTIVATIONS,
        "kernels.rows.ACTIVATIONS": rows.ACTIVATIONS,
    },
    "loss": {
        "layers.LOSSES": layers.LOSSES,
        "kernels.functions.LOSS_FUNCTIONS": functions.LOSS_FUNCTIONS,
        "kernels.losses.LOSSES": losses.LOSSES,
    },
    "optimizer": {
        "optimizers.OPTIMIZERS": optimizers.OPTIMIZERS,
        "kernels.reference.UPDATES": reference.UPDATES,
        "kernels.rows.UPDATES": rows.UPDATES,
        "the classes of optimizers": classes(optimizers, optimizers.Optimizer),
        "the contents page": {
            name
            for name, kind in optimizers.OPTIMIZERS.items()
            if kind.__name__ in fastnn.__all__ and getattr(fastnn, kind.__name__) is kind
        },
    },
    "schedule": {
        "schedules.SCHEDULES": schedules.SCHEDULES,
        "the classes of schedules": classes(schedules, schedules.Schedule),
    },
    "initializer": {"initializers.INITIALIZERS": initializers.INITIALIZERS},
}

# What must be there, so that a row which went missing from all tables at once is missed too.
PROMISED = {
    "activation": "identity relu leaky_relu elu sigmoid tanh softplus gelu silu softmax",
    "loss": "cross_entropy binary_cross_entropy quadratic",
    "optimizer": "sgd momentum nesterov rmsprop adam adamw",
    "schedule": "constant step exponential inverse_time linear cosine one_cycle adaptive",
    "initializer": "he_normal he_uniform glorot_normal glorot_uniform lecun_normal lecun_uniform "
    "normal uniform zeros constant",
}


@pytest.mark.parametrize(("kind", "table"), [(kind, table) for kind, tables in TABLES.items() for table in tables])
def test_tables_are_complete(kind, table):
    every = set(PROMISED[kind].split()).union(*TABLES[kind].values())
    lacking = every - set(TABLES[kind][table])
    assert not lacking, f"{table} lacks the {kind} {', '.join(sorted(lacking))}"


def test_codes_follow_their_tables():
    for table, codes in (
        (rows.ACTIVATIONS, rows.ACTIVATION_CODES),
        (losses.LOSSES, losses.LOSS_CODES),
        (rows.UPDATES, rows.UPDATE_CODES),
    ):
        assert list(codes) == list(table)
        assert list(codes.values()) == list(range(len(table)))


def test_every_default_loss_is_one_and_fits_its_activation():
    assert layers.DEFAULT_LOSS.keys() <= layers.ACTIVATIONS.keys()
    assert all(layers.LOSSES[loss] == activation for activation, loss in layers.DEFAULT_LOSS.items())


def test_all_names_can_be_imported_without_an_extra():
    code = "import sys; sys.modules['sklearn'] = None; from fastnn import *; import fastnn; assert MLP is fastnn.MLP"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "MLPClassifier" in dir(fastnn)
