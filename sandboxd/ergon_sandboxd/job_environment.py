"""The environment variables of a job: a closed set, then what the request adds."""

from typing import Final

from . import numerics

_ALWAYS: Final[dict[str, str]] = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "MPLBACKEND": "Agg",
    "MPLCONFIGDIR": "/tmp/matplotlib",
    # 2000-01-01: old enough to be nobody's clock, young enough for zip files, whose time begins in 1980.
    "SOURCE_DATE_EPOCH": "946684800",
}
_CONTRACT: Final[dict[str, str]] = {
    "ERGON_PARAMETERS": "/workspace/input/parameters.json",
    "ERGON_INPUT_DIR": "/workspace/input",
    "ERGON_RESULT": "/workspace/result.json",
    "ERGON_OUTPUT_DIR": "/workspace/output",
    "PRAXIS_OUTPUT_DIR": "/workspace/output",
}


def numeric_threads(cpu_percent: int) -> int:
    """Return how many threads numeric libraries may use: one for each whole core."""
    return max(1, cpu_percent // 100)


def fixed_variables(threads: int) -> dict[str, str]:
    """Return what every process of a sandbox gets, init included."""
    threading = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "OPENBLAS", "MKL")}
    return {**_ALWAYS, **threading, **numerics.variables(numerics.cpu_flags()), **_CONTRACT}


def requested_variables(env: dict[str, str]) -> dict[str, str]:
    """Return what the request adds to the job alone: never to init, and never over the contract's own names."""
    return {name: value for name, value in env.items() if name not in _CONTRACT}
