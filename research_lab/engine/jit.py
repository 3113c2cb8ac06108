"""How every kernel is compiled: cached, without the interpreter lock, IEEE arithmetic kept in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Kernel = TypeVar("Kernel", bound=Callable[..., object])


def kernel(function: Kernel) -> Kernel:
    """Compile `function` with numba: never fastmath, so block size cannot change a bit.

    Division by zero gives infinity or NaN as in NumPy. The caller validates; the kernel trusts. A kernel
    allocates nothing and owns nothing, so it is compiled without numba's reference counting, which cost
    fifteen times the work itself where small kernels call each other (docs/decisions/0002-kernels.md).
    """
    compiled: Kernel = njit(cache=True, nogil=True, error_model="numpy", _nrt=False, no_cfunc_wrapper=True)(
        function
    )
    return compiled


def inlined_kernel(function: Kernel) -> Kernel:
    """Compile `function` like `kernel`, and always into its caller: for what runs on every bar."""
    compiled: Kernel = njit(
        cache=True,
        nogil=True,
        error_model="numpy",
        _nrt=False,
        forceinline=True,
        no_cfunc_wrapper=True,
    )(function)
    return compiled
