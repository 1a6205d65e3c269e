"""The OpenVINO library, imported without its telemetry, and how it is to run on a CPU.

Nothing else here imports it, so that the telemetry is off before it can begin.
"""

import sys
from collections.abc import Mapping
from functools import cache

from worker.models.errors import BackendUnavailableError, PrecisionUnavailableError
from worker.models.interface import Precision

if "openvino" not in sys.modules:
    # At import already it would report to its makers, unless a file in the home folder says no. Where the package
    # that reports is not there, it does without (openvino.tools.ovc.telemetry_stub): so it is never there.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

try:
    import openvino as ov
except ImportError:
    raise BackendUnavailableError(
        "OpenVINO is not installed here: pip install openvino, or choose another backend (VFQ_BACKEND)."
    ) from None

__all__ = ["VERSION", "capabilities", "check_precision", "configuration", "core", "ov"]

VERSION: str = ov.__version__


@cache
def core() -> ov.Core:
    """The library's one core."""
    return ov.Core()


def capabilities() -> frozenset[str]:
    """What the library can compute in on this CPU: FP32, and BF16 where there is AVX512-BF16 or AMX."""
    return frozenset(core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def check_precision(precision: Precision) -> None:
    """Raise `PrecisionUnavailableError` where this CPU does not compute in it."""
    if precision not in ("fp32", "bf16"):
        raise PrecisionUnavailableError(f"OpenVINO computes in fp32 or bf16 on a CPU, not in {precision}: choose one.")
    if precision == "bf16" and "BF16" not in capabilities():
        raise PrecisionUnavailableError("This CPU has neither AVX512-BF16 nor AMX, so bf16 is not here: choose fp32.")


def configuration(precision: Precision, threads: int) -> Mapping[str, object]:
    """How a model is compiled: its precision said outright, for by default it follows the CPU."""
    return {
        "INFERENCE_PRECISION_HINT": ov.Type.bf16 if precision == "bf16" else ov.Type.f32,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # Workers that share a machine would all bind themselves to its first cores.
        "ENABLE_CPU_PINNING": False,
    }
