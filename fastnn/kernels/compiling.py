"""How the parts of the step are compiled: options of Numba, each for a kind of function.

A part is called by compiled code alone, so it goes without the wrappers that would let Python or C call it: those took
a quarter of the time of a compilation. A number that is written out in a call is a type of its own to Numba, for which
the part is compiled once more: write np.int64(0), not 0, and np.bool_(True). Compilation took 20 s with such numbers,
and 16 without.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from llvmlite import binding
from numba import extending, njit, types
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.typed_passes import NopythonTypeInference

Function = TypeVar("Function", bound=Callable[..., Any])


@register_pass(mutates_CFG=False, analysis_only=True)
class _AsItIs(FunctionPass):  # type: ignore[misc]
    """Leave a part as it is: the kernel that it becomes a piece of is optimised with all its parts.

    Numba would optimise each part with all that it calls, which took 3 s of 19. Where it knows nothing of the attribute
    below, it still does.
    """

    _name = "fastnn_as_it_is"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Make the library that the part will be in."""
        state.library = state.targetctx.codegen().create_library(state.func_id.func_qualname)
        state.library._optimize_final_module = lambda: None
        return False


class _PartCompiler(CompilerBase):  # type: ignore[misc]
    """Numba's own, with that pass before code is generated."""

    def define_pipelines(self) -> list[Any]:
        """The one there is."""
        pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.add_pass_after(_AsItIs, NopythonTypeInference)
        pipeline.finalize()
        return [pipeline]


_PART = {
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


FAMILY = "fastnn"  # so begin the names of functions that parts only have stand-ins for (kernels/families.py)


def take_over(library: Any) -> None:
    """Make all that is linked to a kernel its own: else the loader takes the machine code of a part, as it is."""
    optimize = library._optimize_final_module

    def take() -> None:
        for function in library._final_module.functions:
            linked = function.linkage == binding.Linkage.linkonce_odr or function.name.startswith(FAMILY)
            if linked and not function.is_declaration:
                function.linkage = binding.Linkage.private
        optimize()

    library._optimize_final_module = take


@intrinsic
def as_one(context: Any) -> Any:
    """What a kernel of parts, which Python calls, must begin with if it does not begin with `families.whole`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if hasattr(context.active_code_library, "_optimize_final_module"):
            take_over(context.active_code_library)
        return context.get_dummy_value()

    return types.void(), generate
