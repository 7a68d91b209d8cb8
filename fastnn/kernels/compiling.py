"""How the parts of the step are compiled: options of Numba, each for a kind of function.

A part is called by compiled code alone, so it goes without the wrappers that would let Python or C call it: those took
a quarter of the time of a compilation. A number that is written out in a call is a type of its own to Numba, for which
the part is compiled once more: write np.int64(0), not 0, and np.bool_(True). Compilation took 20 s with such numbers,
and 16 without.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from llvmlite import binding
from numba import extending, njit
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.typed_passes import NopythonTypeInference

Function = TypeVar("Function", bound=Callable[..., Any])


def _set_aside(library: Any) -> None:
    """Keep a part's module for who links it, and leave its variables alone to be translated."""
    kept = library._shared_module = library._final_module
    for function in kept.functions:
        if not function.is_declaration and function.linkage == binding.Linkage.external:
            function.linkage = "linkonce_odr"
    variables = [str(each) for each in kept.global_variables if each.name.startswith("_ZN08NumbaEnv")]
    library._final_module = binding.parse_assembly("\n".join(variables))


@register_pass(mutates_CFG=False, analysis_only=True)
class _SetAside(FunctionPass):  # type: ignore[misc]
    """Make no machine code of a part: it is run as a piece of a kernel alone.

    Numba optimises and translates each part with all that it calls, and then the kernel: the step took 19 s, and 15 so.
    Where it knows nothing of the attribute that is set here, it still does.
    """

    _name = "fastnn_set_aside"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Make the library that the part will be in."""
        library = state.library = state.targetctx.codegen().create_library(state.func_id.func_qualname)
        library._optimize_final_module = lambda: _set_aside(library)
        return False


class _PartCompiler(CompilerBase):  # type: ignore[misc]
    """Numba's own, with that pass before code is generated."""

    def define_pipelines(self) -> list[Any]:
        """The one there is."""
        pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.add_pass_after(_SetAside, NopythonTypeInference)
        pipeline.finalize()
        return [pipeline]


_PART = {
    # Numba's rewrites, half a second of a compilation, are for arrays and what else no part has. With them go its own
    # search for dead branches: LLVM drops those, but what stands there must compile on each CPU, as calls of a family
    # do that has no sizes.
    "no_rewrites": True,
    "nogil": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": _PartCompiler,
}
# Contraction and reassociation, but never nnan or ninf: a NaN must stay visible.
_FAST = {"reassoc", "contract", "nsz", "arcp", "afn"}

part = njit(**_PART)
fast = njit(**_PART, fastmath=_FAST)


def kernel(cache: bool) -> Callable[[Function], Function]:
    """For what Python calls; kept on disk if `cache`."""
    compiled: Callable[[Function], Function] = njit(nogil=True, error_model="numpy", cache=cache)
    return compiled


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """For what emits instructions: Numba's own, with a type."""
    made: Callable[..., Any] = extending.intrinsic(function)
    return made
