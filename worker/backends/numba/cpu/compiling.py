"""How the loops of this folder are compiled."""

import hashlib
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from numba import njit
from numba.core import caching

from worker.backends.numba.cpu.arena import Floats as Floats

log = logging.getLogger(__name__)

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def compiled(*, reorder: bool = False) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Compile a loop at its first call, without the interpreter's lock, and keep the code on disk where that can be.

    NaN and infinity keep their meaning, as they show that something is wrong; `reorder` lets sums be vectorised.
    """
    fastmath = {"contract", "nsz"} | ({"reassoc"} if reorder else set())

    def decorate(loop: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        rules: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}
        function: Any = njit(**rules)(loop)
        try:
            function._cache = Kept(loop)
        except RuntimeError:  # there is no folder that can be written
            _warn_once()
        return cast(Callable[Parameters, Result], function)

    return decorate


_Base: Any = caching.FunctionCache


class Kept(_Base):  # type: ignore[misc]
    """Numba's cache on disk, which may be damaged, full, or written by an older version of any file here."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load the code of a signature; None where it has to be compiled."""
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # whatever half a file makes of itself
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save it, over a damaged index if need be, or do without."""
        try:
            super().save_overload(sig, data)
        except Exception:  # whatever half an index makes of itself, or a full disk
            try:
                self.flush()
                super().save_overload(sig, data)
            except Exception as error:
                log.warning("compiled code cannot be kept in %s: %s", self.cache_path, type(error).__name__)

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        # Numba looks at the function's own file alone; constants and what is inlined come from its neighbours.
        return (*super()._index_key(sig, codegen), _sources())


@cache
def _warn_once() -> None:
    log.warning("compiled code cannot be kept: set NUMBA_CACHE_DIR to a folder that can be written")


@cache
def _sources() -> str:
    files = sorted(Path(__file__).parents[1].rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
