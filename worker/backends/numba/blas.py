"""OpenBLAS's matrix product, the one that comes with scipy, callable from compiled code without the interpreter."""

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import get_cython_function_address, intrinsic


@cache
def sgemm_address() -> int:
    """Where BLAS's `sgemm` lies in this process."""
    import scipy.linalg.cython_blas  # noqa: F401 - the function is found in the loaded module

    return int(get_cython_function_address("scipy.linalg.cython_blas", "sgemm"))


def keep_to_one_thread() -> None:
    """Make BLAS calculate on the calling thread alone: the threads here are our own."""
    from threadpoolctl import threadpool_limits

    sgemm_address()
    threadpool_limits(1, user_api="blas")


def _type_sgemm(
    typing_context: Any,  # noqa: ARG001
    address: Any,  # noqa: ARG001
    rows: Any,  # noqa: ARG001
    columns: Any,  # noqa: ARG001
    inner: Any,  # noqa: ARG001
    a: Any,  # noqa: ARG001
    a_stride: Any,  # noqa: ARG001
    b: Any,  # noqa: ARG001
    b_stride: Any,  # noqa: ARG001
    beta: Any,  # noqa: ARG001
    c: Any,  # noqa: ARG001
    c_stride: Any,  # noqa: ARG001
) -> Any:
    """c = a·b + beta·c in row-major order; `a`, `b`, `c` are addresses of float32, strides count values.

    The address is an argument, not a constant, so that the code that calls it can be cached on disk.
    """
    whole = types.int64
    signature = types.void(
        whole, whole, whole, whole, types.uintp, whole, types.uintp, whole, types.float32, types.uintp, whole
    )
    return signature, _call_sgemm


sgemm: Any = intrinsic(_type_sgemm)


def _call_sgemm(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
    address, rows, columns, inner, a, a_stride, b, b_stride, beta, c, c_stride = arguments
    int32, real = ir.IntType(32), ir.FloatType()
    bytes_ = ir.IntType(8).as_pointer()

    def place(value: Any, kind: Any) -> Any:
        slot = builder.alloca(kind)
        builder.store(builder.trunc(value, kind) if kind is int32 else value, slot)
        return builder.bitcast(slot, bytes_)

    plain = place(ir.Constant(ir.IntType(8), ord("n")), ir.IntType(8))
    one = place(ir.Constant(real, 1.0), real)
    # BLAS counts by columns: what is a·b there is bᵀ·aᵀ here.
    order = [plain, plain, place(columns, int32), place(rows, int32), place(inner, int32), one]
    order += [builder.inttoptr(b, bytes_), place(b_stride, int32), builder.inttoptr(a, bytes_), place(a_stride, int32)]
    order += [place(beta, real), builder.inttoptr(c, bytes_), place(c_stride, int32)]
    kind = ir.FunctionType(ir.VoidType(), [bytes_] * len(order))
    builder.call(builder.inttoptr(address, kind.as_pointer()), order)
    return None
