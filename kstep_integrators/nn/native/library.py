"""The native kernel's shared library: the best that was built and that this CPU can run."""

from __future__ import annotations

import ctypes
import functools
import platform
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

__all__ = ["LEVELS", "NativeLibrary", "best_level", "load", "native_library", "native_missing"]

ABI: Final = 5
"""Version of the C interface that this package calls; ``kstep_abi`` in ``source/kernel.cpp``."""

LEVELS: Final[Mapping[str, Mapping[str, int]]] = MappingProxyType(
    {
        "x86_64": MappingProxyType({"x86_64": 1, "x86_64_v3": 3, "x86_64_v4": 4}),
        "arm64": MappingProxyType({"arm64": 0}),
    }
)
"""Machines, their instruction levels, lowest first, and the number that each asks of the CPU."""

SUFFIX: Final = ".dylib" if sys.platform == "darwin" else ".so"
"""End of a library's name."""

_FOLDER: Final = Path(__file__).parent
_AGAIN: Final = "install the package again (`make native` in a checkout)"


@dataclass(frozen=True)
class NativeLibrary:
    """Shared library of the kernel, loaded into this process; a pickle means that of its reader.

    Attributes
    ----------
    lib : ctypes.CDLL
        Its C functions; who calls one declares its arguments.
    level : str
        Instruction level that it was compiled for, such as ``"x86_64_v3"``.
    path : Path
        Its file.
    """

    lib: ctypes.CDLL
    level: str
    path: Path

    @property
    def outdated(self) -> bool:
        """True if it was built before its sources were last changed, which a checkout has."""
        built = self.path.stat().st_mtime
        return any(path.stat().st_mtime > built for path in self.path.parent.glob("source/*"))

    def __reduce__(self) -> tuple[Callable[[], NativeLibrary], tuple[()]]:
        return _of_this_process, ()


def native_library() -> NativeLibrary | None:
    """The library for this CPU, loaded once.

    Returns
    -------
    NativeLibrary or None
        None if there is none; :func:`native_missing` has the reason.
    """
    found = _found()
    return None if isinstance(found, str) else found


def native_missing() -> str | None:
    """Reason that there is no library, and what to do about it.

    Returns
    -------
    str or None
        One sentence; None if :func:`native_library` has one.
    """
    found = _found()
    return found if isinstance(found, str) else None


def best_level(running: int, levels: Mapping[str, int], present: Collection[str]) -> str | None:
    """Highest level that is present and that a CPU can run.

    Parameters
    ----------
    running : int
        Level of the CPU as ``kstep_level`` answers: 1, 3 or 4 on x86-64, 0 elsewhere.
    levels : mapping of str to int
        Levels of the machine, lowest first; see :data:`LEVELS`.
    present : collection of str
        Levels that there is a library of.

    Returns
    -------
    str or None
        None if the CPU can run none that is present.

    Examples
    --------
    >>> best_level(3, LEVELS["x86_64"], ["x86_64", "x86_64_v3", "x86_64_v4"])
    'x86_64_v3'
    """
    usable = [level for level, asks in levels.items() if asks <= running and level in present]
    return usable[-1] if usable else None


def load(folder: Path, machine: str, abi: int = ABI) -> NativeLibrary | str:
    """Load the best library of a folder that this CPU can run.

    The library of the lowest level is loaded first, because it can ask the CPU anywhere; a library
    above the CPU's level is never opened.

    Parameters
    ----------
    folder : Path
        Where the libraries ``kernel.LEVEL.so`` are.
    machine : str
        The machine, as :func:`platform.machine` names it.
    abi : int, optional
        Version of the C interface that a library must have.

    Returns
    -------
    NativeLibrary or str
        The library, or the reason that there is none and what to do.
    """
    if sys.platform == "win32":
        return "no native kernel is made for Windows; in WSL, Linux's works"
    name = machine.lower()
    levels = LEVELS.get({"amd64": "x86_64", "aarch64": "arm64"}.get(name, name))
    if levels is None:
        return f"no native kernel is made for this machine, {machine}, only for x86-64 and arm64"
    paths = {level: folder / f"kernel.{level}{SUFFIX}" for level in levels}
    lowest = next(iter(levels))
    if not paths[lowest].is_file():
        return (
            f"the native kernel was not built when the package was installed (no {paths[lowest]}); "
            f"install a C++ compiler, g++ 11 or clang++ 12 or newer, and then {_AGAIN}"
        )
    base = _open(paths[lowest], abi)
    if isinstance(base, str):
        return base
    best = best_level(base.kstep_level(), levels, [at for at in levels if paths[at].is_file()])
    if best is None or best == lowest:
        return NativeLibrary(base, lowest, paths[lowest])
    library = _open(paths[best], abi)
    return library if isinstance(library, str) else NativeLibrary(library, best, paths[best])


def _open(path: Path, abi: int) -> ctypes.CDLL | str:
    """A library with the right C interface, or the reason that this one cannot be used."""
    try:
        library = ctypes.CDLL(str(path))
        found = library.kstep_abi()
        library.kstep_level  # noqa: B018 - a symbol that is missing
    except (OSError, AttributeError) as error:
        return f"the native kernel cannot be loaded ({error}); {_AGAIN}"
    if found != abi:
        return (
            f"the native kernel {path} is of another version of the package (its interface is "
            f"{found}, expected {abi}); {_AGAIN}"
        )
    return library


@functools.cache
def _found() -> NativeLibrary | str:
    return load(_FOLDER, platform.machine())


def _of_this_process() -> NativeLibrary:
    found = _found()
    if isinstance(found, str):
        raise RuntimeError(
            f"what is unpickled was computed by the native kernel, and here {found}; or make it "
            "with backend='eager'"
        )
    return found
