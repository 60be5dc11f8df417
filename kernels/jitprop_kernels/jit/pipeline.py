"""How a task passes through Numba's compiler: each function in half of the passes, all together through LLVM once.

Numba makes every function that a compiled one calls into machine code of its own, optimizes it before and again inside
each caller, and keeps it ready for all that Python can do. Tasks are small, loops over pointers, and many: without that
an empty cache is filled in half the time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core import typed_passes, untyped_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase
from numba.core.compiler_machinery import PassManager

__all__ = ["PartCompiler", "TaskCompiler"]


class _Library(JITCodeLibrary):
    """A C function and all that it calls: optimized once, when everything is linked in."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        # Only the C function is called from outside: what it has taken in need not exist beside it.
        for function in self._final_module.functions:
            if not function.is_declaration and not function.name.startswith("cfunc."):
                function.linkage = "internal"
        super()._optimize_final_module()


class _Part(_Library):
    """What becomes a part of its callers: linked to what it calls, neither optimized nor made into machine code."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalized = True


class TaskCompiler(CompilerBase):
    """Compiles a C function, with the passes that tasks need: for no closures, comprehensions, arrays or threads."""

    library: type[JITCodeLibrary] = _Library

    def define_pipelines(self) -> list[PassManager]:
        manager = PassManager("kernel")
        for step in (
            untyped_passes.TranslateByteCode,
            untyped_passes.FixupArgs,
            untyped_passes.IRProcessing,
            untyped_passes.DeadBranchPrune,
            untyped_passes.GenericRewrites,
            untyped_passes.ReconstructSSA,
            typed_passes.NopythonTypeInference,
            typed_passes.PreLowerStripPhis,
            typed_passes.IRLegalization,
            typed_passes.NativeLowering,
            typed_passes.NoPythonBackend,
        ):
            manager.add_pass(step, step._name)
        manager.finalize()
        return [manager]

    def compile_extra(self, func: Callable[..., Any]) -> Any:
        self.state.library = self.library(self.state.targetctx.codegen(), func.__qualname__)
        self.state.library.enable_object_caching()
        return super().compile_extra(func)


class PartCompiler(TaskCompiler):
    """Compiles a function that becomes a part of its callers."""

    library = _Part

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.state.flags.no_compile = True
