"""How the process of a framework is started: nothing held over from the shell, then what suits the framework best.

What is best for one size is not best for another, so a framework may have several settings, each a process of its
own; for every case a short trial decides which of them is measured.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["FRAMEWORKS", "Setting", "clean", "processors", "settings"]

FRAMEWORKS = ("jitprop", "torch", "jax", "sklearn", "numpy", "onnxruntime")
FOREIGN = (
    "OPENBLAS_", "GOTO_", "BLIS_", "MKL_", "NVPL_", "OMP_", "GOMP_", "KMP_", "NUMBA_", "XLA_", "JAX_", "NPROC",
    "ONEDNN_", "DNNL_", "ATEN_", "TORCHINDUCTOR_", "TORCH_COMPILE", "TF_", "ORT_",
    "NPY_DISABLE_CPU", "NPY_ENABLE_CPU",
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """Variables of the environment of one process of a framework."""

    framework: str
    name: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    rows: tuple[str, ...] = ()  # the only rows it is for; none: all

    def __str__(self):
        return f"{self.framework} {self.name}".strip()


def clean(environment):
    """The environment without the variables that libraries of numbers read."""
    return {name: value for name, value in environment.items() if not name.startswith(FOREIGN)}


def processors(threads):
    """The processors to hold a process to: as many of those allowed as it has threads, from the last one down."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[-threads:]


def flags():
    """What the processor can do, in Linux's words; nothing elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^flags\s*:\s*(.+)$", cpuinfo.read_text(), re.M) if cpuinfo.exists() else None
    return set(found[1].split()) if found else set()


def _openblas(vectors):
    """OpenBLAS as it detects the processor, and held to each kind that the processor can run.

    Where it does not know a processor it takes an older kind, and the kernels of another are sometimes faster.
    """
    able = flags()
    kinds = {"avx2": ("Haswell", "Zen"), "avx512vl": ("SkylakeX",), "avx512_bf16": ("Cooperlake",)}
    if vectors == 256:
        return [(kind, {"OPENBLAS_CORETYPE": kind}) for kind in kinds["avx2"]]
    named = [kind for flag, names in kinds.items() if flag in able for kind in names]
    return [("", {})] + [(kind, {"OPENBLAS_CORETYPE": kind}) for kind in named]


WITHOUT_YNNPACK = "--xla_cpu_experimental_ynn_fusion_type="

# What holds a framework to vectors of 256 bits on a processor with wider ones. ONNX Runtime offers nothing for it.
HELD = {
    "jitprop": {"NUMBA_CPU_FEATURES": "-avx512f,-avx512vl,-avx512bw,-avx512dq,-avx512cd"},
    "torch": {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    # XLA's flag holds the code that it makes, not the libraries that it calls: YNNPACK cannot be held, so products in
    # float32 go to oneDNN instead, which can.
    "jax": {"XLA_FLAGS": f"--xla_cpu_max_isa=AVX2 {WITHOUT_YNNPACK}", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "numpy": {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"},
    "sklearn": {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"},
}


def settings(framework, threads, vectors=None):
    """The settings to try of a framework; with `vectors` 256, held to vectors of so many bits. None: it cannot be."""
    if vectors is not None and framework not in HELD:
        return []
    common = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    if vectors is not None:
        common |= HELD[framework]
    if framework in ("numpy", "sklearn"):
        return [Setting(framework, name, common | held) for name, held in _openblas(vectors)]
    if framework == "jax":
        common["NPROC"] = str(threads)  # of XLA's own pool
        eigen = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"
        plain = f"{eigen} {common.get('XLA_FLAGS', '')}".strip()
        found = [Setting(framework, "", common | {"XLA_FLAGS": plain})]
        if vectors is None:
            found.append(Setting(framework, "oneDNN", common | {"XLA_FLAGS": f"{plain} {WITHOUT_YNNPACK}"}))
        if vectors is None and "avx512f" in flags():
            wide = f"{eigen} --xla_cpu_prefer_vector_width=512"
            found.append(Setting(framework, "512-bit", common | {"XLA_FLAGS": wide}))
        return found
    if framework == "jitprop":
        common["NUMBA_NUM_THREADS"] = str(threads)
    if framework == "torch":
        # Compiling in this process leaves no other process running beside it.
        common["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    return [Setting(framework, "", common)]
