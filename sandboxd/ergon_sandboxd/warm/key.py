"""What a template is for: jobs of the same key can be its children."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache


from ..ids import has_template_ids
from ..job_environment import numeric_threads


@dataclass(frozen=True)
class TemplateKey:
    """Numeric libraries choose their threads while they are imported, so the count belongs to the template."""

    environment: str
    runtime: str
    threads: int

    @cached_property
    def name(self) -> str:
        """A short name that is safe in paths."""
        return hashlib.sha256(self.encode()).hexdigest()[:16]

    def encode(self) -> bytes:
        """Return it as a message."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @staticmethod
    def decode(message: bytes) -> "TemplateKey":
        """Read a message of one of our own processes."""
        return TemplateKey(**json.loads(message))


def can_be_warm(runtime: str, cpu_percent: int) -> bool:
    """Whether this host has templates for such jobs.

    Not under gVisor, a kernel of its own whose processes ours cannot enter; and not for more threads than there are cores,
    or a client could ask for any number of templates.
    """
    return runtime != "runsc" and numeric_threads(cpu_percent) <= (os.cpu_count() or 1) and has_template_ids()


# Each key keeps its name; a client may name more environments than there are.
@lru_cache(maxsize=64)
def template_key(environment: str, runtime: str, cpu_percent: int) -> TemplateKey:
    """Return the key of a job's template."""
    return TemplateKey(environment, runtime, numeric_threads(cpu_percent))
