"""What is made once, when sandboxd starts, for every sandbox to come."""

from dataclasses import dataclass
from pathlib import Path

from .bpf import compile_profile
from .bundle import install_shim
from .oci_spec import JOB_FILTER
from .runtime import seal_runtimes
from .seccomp import job_profile


@dataclass(frozen=True)
class Provisions:
    """The folder of in-sandbox code, a job's compiled seccomp profile, and what to execute for a runtime's path."""

    shim: Path
    program: bytes
    executables: dict[str, str]

    @staticmethod
    def prepare(folder: Path) -> "Provisions":
        """Make them in sandboxd's own state folder."""
        program = compile_profile(job_profile())
        shim = folder / "shim"
        install_shim(shim)
        (shim / JOB_FILTER).write_bytes(program)
        return Provisions(shim, program, seal_runtimes(folder))
