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


def _openblas():
    """OpenBLAS as it detects the processor, and held to each kind that the processor can run.

    Where it does not know a processor it takes an older kind, and the kernels of another are sometimes faster.
    """
    able = flags()
    kinds = {"avx2": ("Haswell", "Zen"), "avx512vl": ("SkylakeX",), "avx512_bf16": ("Cooperlake",)}
    named = [kind for flag, names in kinds.items() if flag in able for kind in names]
    return [("", {})] + [(kind, {"OPENBLAS_CORETYPE": kind}) for kind in named]


def settings(framework, threads):
    """The settings to try of a framework."""
    common = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    if framework in ("numpy", "sklearn"):
        return [Setting(framework, name, common | held) for name, held in _openblas()]
    if framework == "jax":
        common["NPROC"] = str(threads)  # of XLA's own pool
        eigen = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"
        wide = f"{eigen} --xla_cpu_prefer_vector_width=512"
        found = [Setting(framework, "", common | {"XLA_FLAGS": eigen})]
        if "avx512f" in flags():
            found.append(Setting(framework, "512-bit", common | {"XLA_FLAGS": wide}))
        return found
    if framework == "jitprop":
        return [Setting(framework, "", common | {"NUMBA_NUM_THREADS": str(threads)})]
    if framework == "torch":
        # Compiling in this process leaves no other process running beside it.
        common |= {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
        return [Setting(framework, "", common)]
    return [Setting(framework, "", common)]
