"""Families: functions written in LLVM's IR, one for each size, and each compiled once however many parts call it.

A part of a kernel (`fastnn.kernels.compiling`) is built with all that it calls, and the kernel with all of them once
more. So a part only declares the functions of families that it calls, and they are linked to the kernel when it has
been optimised: they are as fast without what LLVM does to whole modules. The step took 16.8 s and 325 MiB to compile
with it, and 14.6 s and 294 MiB so.
"""

import gc
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core.codegen import CPUCodeLibrary

from fastnn.kernels.compiling import intrinsic
from fastnn.kernels.vectors import F32, FLOATS, INTS, WORD, word

KINDS = {"at_int_": INTS, "at_": FLOATS, "x_": F32, "": WORD}  # of an argument, by how its name begins
# Where Numba is not as expected, each part has functions of its own: the step took 18.2 s to compile so, else 14.6.
ONCE = hasattr(CPUCodeLibrary, "_optimize_final_module")

# Of all that parts call so far: by a function's name its arguments' kinds, and what emits it.
_functions: dict[str, tuple[Sequence[Any], Callable[..., None]]] = {}
_START = "fastnn"  # of their names


def _declare(module: Any, label: str) -> Any:
    """The function of a name, which a module calls."""
    kinds, _ = _functions[label]
    return module.globals.get(label) or ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), label)


def _define(module: Any, label: str) -> Any:
    """The function of a name, in a module that has it itself."""
    made = _declare(module, label)
    if made.is_declaration:
        made.attributes.add("noinline")  # the register allocator sees nothing else
        builder = ir.IRBuilder(made.append_basic_block("entry"))
        _functions[label][1](builder, *made.args)
        builder.ret_void()
    return made


def _take_over(library: Any) -> None:
    """When a kernel has been optimised, give it the functions that it calls. All that is linked to it becomes its own.

    So what it does not call goes, and the loader takes no other kernel's.
    """
    optimize = library._optimize_final_module

    def take_over() -> None:
        gc.collect()  # Numba's remains of all parts go before LLVM needs as much
        for function in library._final_module.functions:
            if not function.is_declaration and function.linkage == binding.Linkage.linkonce_odr:
                function.linkage = binding.Linkage.private
        optimize()
        final = library._final_module
        called = (function.name for function in final.functions if function.is_declaration)
        for label in [name for name in called if name in _functions]:
            module = library.create_ir_module(label)
            _define(module, label)
            library.add_ir_module(module)
            final.get_function(label).linkage = binding.Linkage.private

    library._optimize_final_module = take_over


@intrinsic
def whole(context: Any) -> Any:
    """What a kernel, which Python calls, must begin with: the functions that its parts call become its own."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if ONCE:
            _take_over(context.active_code_library)
        return context.get_dummy_value()

    return types.void(), generate


def family(arguments: str, sizes: Sequence[int], body: Callable[..., None]) -> Callable[..., None]:
    """An intrinsic ``(size, *arguments)`` that calls the function which ``body(builder, size, *arguments)`` emits.

    `arguments` are names, which tell their kind by `KINDS`: addresses of float32 or int32, float32, or words. A
    function is emitted for each of the `sizes`; another size does nothing.
    """
    names = arguments.split()
    kinds = [next(kind for start, kind in KINDS.items() if name.startswith(start)) for name in names]

    def function(module: Any, size: int) -> Any:
        label = f"{_START}{body.__name__}.{size}"
        _functions[label] = kinds, lambda builder, *arguments: body(builder, size, *arguments)
        if ONCE:
            return _declare(module, label)
        made = _define(module, label)
        made.linkage = "linkonce_odr"
        return made

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        size, *rest = args
        values = [builder.inttoptr(v, kind) if isinstance(kind, ir.PointerType) else v
                  for v, kind in zip(rest, kinds, strict=True)]  # fmt: skip
        end = builder.append_basic_block("end")
        chosen = builder.switch(size, end)
        for possible in sizes:
            block = builder.append_basic_block(f"size.{possible}")
            chosen.add_case(word(possible), block)
            builder.position_at_end(block)
            builder.call(function(builder.module, possible), values)
            builder.branch(end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    taken = [types.float32 if kind is F32 else types.intp for kind in kinds]
    made = types.void(types.intp, *taken), generate
    # Numba wants each argument of an intrinsic named
    forms: dict[int, Callable[..., Any]] = {
        3: lambda context, size, a, b, c: made,
        4: lambda context, size, a, b, c, d: made,
        5: lambda context, size, a, b, c, d, e: made,
        6: lambda context, size, a, b, c, d, e, f: made,
        7: lambda context, size, a, b, c, d, e, f, g: made,
        8: lambda context, size, a, b, c, d, e, f, g, h: made,
        9: lambda context, size, a, b, c, d, e, f, g, h, i: made,
        10: lambda context, size, a, b, c, d, e, f, g, h, i, j: made,
        11: lambda context, size, a, b, c, d, e, f, g, h, i, j, k: made,
        12: lambda context, size, a, b, c, d, e, f, g, h, i, j, k, m: made,
        13: lambda context, size, a, b, c, d, e, f, g, h, i, j, k, m, n: made,
        14: lambda context, size, a, b, c, d, e, f, g, h, i, j, k, m, n, o: made,
        15: lambda context, size, a, b, c, d, e, f, g, h, i, j, k, m, n, o, p: made,
    }
    return intrinsic(forms[len(names)])
