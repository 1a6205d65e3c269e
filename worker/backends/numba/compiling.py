"""How the loops of this folder are compiled."""

from collections.abc import Callable
from typing import Any, ParamSpec, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Parameters = ParamSpec("Parameters")


def compiled(*, reorder: bool = False) -> Callable[[Callable[Parameters, None]], Callable[Parameters, None]]:
    """Compile a loop at its first call, without the interpreter's lock, and keep the code on disk where that can be.

    NaN and infinity keep their meaning, as they show that something is wrong; `reorder` lets sums be vectorised.
    """
    fastmath = {"contract", "nsz"} | ({"reassoc"} if reorder else set())

    def decorate(loop: Callable[Parameters, None]) -> Callable[Parameters, None]:
        rules: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}
        try:
            return cast(Callable[Parameters, None], njit(cache=True, **rules)(loop))
        except RuntimeError:  # no folder to keep code in can be written
            return cast(Callable[Parameters, None], njit(**rules)(loop))

    return decorate
