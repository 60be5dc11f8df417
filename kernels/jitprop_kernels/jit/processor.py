"""What the processor that kernels are compiled for can do, as far as the kernels' shapes depend on it."""

from __future__ import annotations

import functools

import llvmlite.binding as llvm
from numba.core.registry import cpu_target

_PROBE = """
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
define void @probe(ptr %p) {
  %a = load <16 x float>, ptr %p
  %b = call <16 x float> @llvm.fma.v16f32(<16 x float> %a, <16 x float> %a, <16 x float> %a)
  %c = fadd <16 x float> %a, %b
  store <16 x float> %c, ptr %p
  ret void
}
"""


def probe(triple: str, name: str, features: str) -> tuple[int, int, bool]:
    """Return vector bits, vector registers and whether there is FMA, as LLVM sees a processor.

    A processor's name implies features, and a list of features adds to them or takes away: only the code that
    comes out tells all.
    """
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=name, features=features, opt=2)
    module = llvm.parse_assembly(_PROBE)
    module.triple = triple
    assembly = machine.emit_assembly(module)
    if triple.startswith(("aarch64", "arm64")):
        return 128, 32, "fmla" in assembly
    fma = "vfmadd" in assembly
    if "zmm" in assembly:
        return 512, 32, fma
    return (256, 16, fma) if "ymm" in assembly else (128, 16, fma)


@functools.cache
def _host() -> tuple[int, int, bool]:
    # Numba's target, which NUMBA_CPU_NAME, NUMBA_CPU_FEATURES and NUMBA_ENABLE_AVX may change.
    return probe(*cpu_target.target_context.codegen().magic_tuple())


def vector_bits() -> int:
    """Return the width of a vector register of the processor that kernels are compiled for."""
    return _host()[0]


def register_count() -> int:
    """Return the number of vector registers of the processor that kernels are compiled for."""
    return _host()[1]


def has_fma() -> bool:
    """Return whether the processor that kernels are compiled for multiplies and adds with one rounding."""
    return _host()[2]
