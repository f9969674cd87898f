"""Random numbers of a job: derived from its execution key, so that a repetition gives the same, or from the operating system.

A warm job would otherwise share the template's generators with every job before it. os.urandom, uuid4 and secrets are
never derived: what is meant to be unpredictable stays so.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    Generators = list[Any]
else:
    Generators = list


def find_generators() -> Generators:
    """Return every generator that libraries made while they were imported."""
    import gc
    import random

    kinds: list[type] = [random.Random]
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        kinds += [numpy.RandomState, numpy.Generator]
    system = random.SystemRandom
    return [found for found in gc.get_objects() if isinstance(found, tuple(kinds)) and not isinstance(found, system)]


def seed_job(seed: str | None, inherited: Generators) -> None:
    """Seed what was inherited and what will be imported; `seed` is hexadecimal, None means the operating system."""
    numbers = _numbers(seed)
    for generator in inherited:
        _seed_generator(generator, numbers())
    if seed is None:
        # What a job imports itself seeds itself.
        for name in _SEEDERS.keys() & sys.modules.keys():
            _SEEDERS[name](sys.modules[name], numbers())
        return
    for name, seeder in _SEEDERS.items():
        if name in sys.modules:
            seeder(sys.modules[name], int(seed, 16))
    sys.meta_path.insert(0, _SeedOnImport(int(seed, 16)))


def _numbers(seed: str | None) -> Callable[[], int]:
    if seed is None:
        import os

        return lambda: int.from_bytes(os.urandom(32))
    state = [int(seed, 16)]

    def following() -> int:
        state[0] += 1
        return state[0]

    return following


def _words(number: int) -> list[int]:
    return [number >> shift & 0xFFFFFFFF for shift in range(0, 256, 32)]


def _seed_generator(generator: Any, number: int) -> None:
    if hasattr(generator, "bit_generator"):
        kind = type(generator.bit_generator)
        generator.bit_generator.state = kind(_words(number)).state
    elif hasattr(generator, "get_state"):
        generator.seed(_words(number))
    else:
        generator.seed(number)


def _seed_numpy(module: ModuleType, number: int) -> None:
    module.seed(_words(number))
    # Where default_rng() and its kin get their entropy when the program gives them none.
    import random

    source = random.Random(number)
    sys.modules["numpy.random.bit_generator"].randbits = source.getrandbits  # type: ignore[attr-defined]


def _seed_module(module: Any, number: int) -> None:
    module.seed(number)


_SEEDERS: dict[str, Callable[[Any, int], None]] = {"random": _seed_module, "numpy.random": _seed_numpy, "sympy.core.random": _seed_module}


class _SeedOnImport:
    """Seeds a library's generator when the job imports it: importing random for its sake would cost every job some time."""

    def __init__(self, number: int) -> None:
        self._number = number

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        seeder = _SEEDERS.get(name)
        if seeder is None:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                _seed_after(spec, seeder, self._number)
                return spec
        return None


def _seed_after(spec: ModuleSpec, seed: Callable[[Any, int], None], number: int) -> None:
    loader: Any = spec.loader
    if loader is None:
        return
    execute = loader.exec_module

    def execute_and_seed(module: ModuleType) -> None:
        del loader.exec_module
        execute(module)
        seed(module, number)

    loader.exec_module = execute_and_seed
