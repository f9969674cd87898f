"""Pinning the CPU-dependent code paths of numeric libraries, so that equal inputs give equal bytes on unequal CPUs."""

import functools
from pathlib import Path
from typing import Final

# numpy's names and the kernel's flags for what lies beyond x86-64-v3; numpy warns on stderr when it is asked to
# disable what the CPU lacks, so only present features are named.
_BEYOND_V3: Final[dict[str, tuple[str, ...]]] = {
    "AVX512F": ("avx512f",),
    "AVX512CD": ("avx512f", "avx512cd"),
    "AVX512_SKX": ("avx512f", "avx512cd", "avx512vl", "avx512bw", "avx512dq"),
    "AVX512_CLX": ("avx512f", "avx512vl", "avx512bw", "avx512dq", "avx512_vnni"),
    "AVX512_CNL": ("avx512f", "avx512vl", "avx512bw", "avx512dq", "avx512ifma", "avx512vbmi"),
    "AVX512_ICL": ("avx512f", "avx512_vbmi2", "avx512_bitalg", "avx512_vpopcntdq", "avx512_vnni"),
}
_V3: Final[dict[str, tuple[str, ...]]] = {"AVX": ("avx",), "F16C": ("avx", "f16c"), "FMA3": ("avx", "fma"), "AVX2": ("avx", "avx2")}


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Return the CPU's feature flags as the kernel names them; empty on other architectures."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def level(flags: frozenset[str]) -> str:
    """Return `x86-64-v3`, `x86-64-v2` or `unpinned`: results are comparable between machines of the same level."""
    if {"avx2", "fma", "bmi2"} <= flags:
        return "x86-64-v3"
    return "x86-64-v2" if "sse4_2" in flags else "unpinned"


def variables(flags: frozenset[str]) -> dict[str, str]:
    """Return the environment variables that pin OpenBLAS and numpy to the level."""
    found = level(flags)
    if found == "unpinned":
        return {}
    disabled = dict(_BEYOND_V3) if found == "x86-64-v3" else {**_V3, **_BEYOND_V3}
    names = [name for name, needed in disabled.items() if flags.issuperset(needed)]
    pinned = {"OPENBLAS_CORETYPE": "Haswell" if found == "x86-64-v3" else "Nehalem"}
    return {**pinned, "NPY_DISABLE_CPU_FEATURES": " ".join(names)} if names else pinned
