"""The kernel's C functions, and objects on their side of the interface."""

from __future__ import annotations

import ctypes
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Handle", "declare", "pointer"]

Array = NDArray[np.float64]

_POINTER, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_int32, ctypes.c_double
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "network_new": (_POINTER, (_POINTER, _POINTER)),
    "network_free": (None, (_POINTER,)),
    "network_bytes": (ctypes.c_uint64, (_POINTER,)),
    "system_new": (_POINTER, (_POINTER, _INT, _POINTER, _POINTER, _POINTER, _POINTER)),
    "system_free": (None, (_POINTER,)),
    "system_bytes": (ctypes.c_uint64, (_POINTER,)),
    "system_pairs": (ctypes.c_uint64, (_POINTER,)),
    "forces": (_INT, (*[_POINTER] * 3, _INT, _POINTER, _POINTER)),
    "flow": (_INT, (*[_POINTER] * 4, _FLOAT, _INT, _INT, *[_POINTER] * 4)),
    "hessian": (_INT, (*[_POINTER] * 3, _INT, _POINTER, _INT, _POINTER)),
    "average": (_INT, (*[_POINTER] * 5, _INT, _INT, _INT, _POINTER, _POINTER)),
    "average_adjoint": (_INT, (*[_POINTER] * 6, _INT, _INT, _INT, _POINTER, _POINTER)),
    "functions": (_INT, (_POINTER, _POINTER, _INT, _POINTER, _INT, _POINTER, _POINTER)),
}
"""Results and arguments of the C functions, whose names begin with ``kstep_``."""


class Handle:
    """Object of the C side, freed with the Python side's; it can be shared but not copied."""

    lib: Any
    _free: str
    handle: int | None = None

    def __del__(self) -> None:
        """Give the memory back."""
        if self.handle:
            getattr(self.lib, self._free)(self.handle)

    def __copy__(self) -> Handle:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Handle:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} is memory of this process and cannot be pickled: pickle the "
            "network, or its model file's path"
        )


def declare(library: Any) -> None:
    """Tell ctypes the results and arguments of all functions of a library.

    Parameters
    ----------
    library : ctypes.CDLL
    """
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, f"kstep_{name}")
        function.restype, function.argtypes = result, arguments


def pointer(array: NDArray[Any] | None) -> int | None:
    """Address of the numbers of a contiguous array; None for None."""
    return None if array is None else array.ctypes.data
