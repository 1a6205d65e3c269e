"""Vector instructions in compiled loops: what LLVM cannot find by itself in a loop over arrays.

A function that is `emitted` runs once, while the loop that calls it is compiled, and writes down instructions on
vectors of `LANES` values. Addresses are bytes in memory; the values are float32.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import Parameter, Signature
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils as untyped
from numba.extending import intrinsic

_HOST = llvm.get_host_cpu_features()
LANES = 16 if _HOST.get("avx512f") else 8
"""Values of a vector: what the widest registers of this CPU hold."""
REGISTERS = 32 if _HOST.get("avx512f") else 16
"""Vector registers of this CPU."""
SIZE = 4
"""Bytes of a value."""

cgutils: Any = untyped
Address = Any
"""An integer that is known when the loop runs, as are all numbers that are passed to an emitted function."""
ADDRESS, NUMBER, REAL = types.uintp, types.int64, types.float32

_WHOLE = ir.IntType(64)
_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_FREE = ("contract", "nsz")
"""What may be done to arithmetic: a product and a sum may become one instruction."""


class Vector:
    """`LANES` values in a register, to calculate with."""

    def __init__(self, builder: Any, value: Any) -> None:
        self._builder, self.value = builder, value

    def __add__(self, other: "Vector") -> "Vector":
        return Vector(self._builder, self._builder.fadd(self.value, other.value, flags=_FREE))

    def __sub__(self, other: "Vector") -> "Vector":
        return Vector(self._builder, self._builder.fsub(self.value, other.value, flags=_FREE))

    def __mul__(self, other: "Vector | float") -> "Vector":
        factor = other.value if isinstance(other, Vector) else ir.Constant(_VECTOR, [float(other)] * LANES)
        return Vector(self._builder, self._builder.fmul(self.value, factor, flags=_FREE))

    __rmul__ = __mul__

    def __truediv__(self, other: "Vector") -> "Vector":
        return Vector(self._builder, self._builder.fdiv(self.value, other.value))

    def at_least(self, other: "Vector") -> "Vector":
        """The larger of each two values; what is no number stays none."""
        smaller = self._builder.fcmp_ordered("<", self.value, other.value)
        return Vector(self._builder, self._builder.select(smaller, other.value, self.value))

    def at_most(self, other: "Vector") -> "Vector":
        """The smaller of each two values; what is no number stays none."""
        larger = self._builder.fcmp_ordered(">", self.value, other.value)
        return Vector(self._builder, self._builder.select(larger, other.value, self.value))

    def rounded(self) -> "Vector":
        """The nearest whole numbers."""
        kind = ir.FunctionType(_VECTOR, [_VECTOR])
        function = cgutils.get_or_insert_function(self._builder.module, kind, f"llvm.rint.v{LANES}f32")
        return Vector(self._builder, self._builder.call(function, [self.value]))

    def power_of_two(self) -> "Vector":
        """Two to the power of whole numbers from -126 to 127."""
        whole = ir.VectorType(ir.IntType(32), LANES)
        exponent = self._builder.fptosi(self.value, whole)
        biased = self._builder.add(exponent, ir.Constant(whole, [127] * LANES))
        return Vector(
            self._builder,
            self._builder.bitcast(self._builder.shl(biased, ir.Constant(whole, [23] * LANES)), _VECTOR),
        )


class Variable:
    """A vector that changes within a loop."""

    def __init__(self, builder: Any, initial: Vector) -> None:
        self._builder = builder
        self._slot = cgutils.alloca_once(builder, _VECTOR)
        self.set(initial)

    def get(self) -> Vector:
        """What it is now."""
        return Vector(self._builder, self._builder.load(self._slot))

    def set(self, value: Vector) -> None:
        """Change it."""
        self._builder.store(value.value, self._slot)


class Code:
    """Writes instructions where a loop calls an emitted function."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def at(self, address: Address, *terms: tuple[Address | int, Address | int]) -> Address:
        """The address plus these products of counts and bytes."""
        for one, other in terms:
            if isinstance(one, int) and isinstance(other, int):
                step = self._whole(one * other)
            else:
                step = self._builder.mul(self._whole(one), self._whole(other))
            address = self._builder.add(address, step)
        return address

    def load(self, address: Address, vector: int = 0) -> Vector:
        """The n-th vector from an address on."""
        return Vector(self._builder, self._builder.load(self._pointer(address, vector), align=SIZE))

    def store(self, value: Vector, address: Address, vector: int = 0) -> None:
        """Put it where `load` would find it."""
        self._builder.store(value.value, self._pointer(address, vector), align=SIZE)

    def fetch(self, address: Address, *, to_write: bool = False, near: bool = False) -> None:
        """Have the cache line at an address, which need not exist, come to the second cache, or to the first one."""
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(self._builder.module, kind, "llvm.prefetch.p0")
        options = [ir.Constant(number, one) for one in (int(to_write), 3 if near else 2, 1)]
        self._builder.call(function, [self._builder.inttoptr(address, byte), *options])

    def spread(self, address: Address) -> Vector:
        """A vector of the one value at an address."""
        pointer = self._builder.inttoptr(address, _FLOAT.as_pointer())
        return self.repeat(self._builder.load(pointer, align=SIZE))

    def repeat(self, real: Any) -> Vector:
        """A vector of one real number."""
        none = ir.Constant(_VECTOR, ir.Undefined)
        first = self._builder.insert_element(none, real, ir.Constant(ir.IntType(32), 0))
        places = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return Vector(self._builder, self._builder.shuffle_vector(first, none, places))

    def constant(self, number: float) -> Vector:
        """A vector of one number that is known now."""
        return Vector(self._builder, ir.Constant(_VECTOR, [float(number)] * LANES))

    def multiply_add(self, one: Vector, other: Vector, sums: Vector) -> Vector:
        """one·other + sums, rounded once."""
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        function = cgutils.get_or_insert_function(self._builder.module, kind, f"llvm.fma.v{LANES}f32")
        return Vector(self._builder, self._builder.call(function, [one.value, other.value, sums.value]))

    def variable(self, initial: Vector) -> Variable:
        """Begin one."""
        return Variable(self._builder, initial)

    @contextmanager
    def count(self, stop: Any, step: int = 1) -> Iterator[Any]:
        """A loop over 0, `step`, … below `stop`."""
        zero, by = ir.Constant(_WHOLE, 0), ir.Constant(_WHOLE, step)
        with cgutils.for_range_slice(self._builder, zero, stop, by, _WHOLE) as (number, _):
            yield number

    @contextmanager
    def when(self, number: int, stop: Address) -> Iterator[None]:
        """What is done only if the number is below `stop`."""
        with self._builder.if_then(self._builder.icmp_signed("<", self._whole(number), stop)):
            yield

    def either(self, number: Address) -> Any:
        """Two blocks, for a number that is not zero and for one that is."""
        return self._builder.if_else(self._builder.icmp_signed("!=", number, self._whole(0)))

    def _pointer(self, address: Address, vector: int) -> Any:
        return self._builder.inttoptr(self.at(address, (vector, LANES * SIZE)), _VECTOR.as_pointer())

    def _whole(self, number: Address | int) -> Any:
        return ir.Constant(_WHOLE, number) if isinstance(number, int) else number


def emitted(*kinds: Any) -> Callable[[Callable[..., None]], Any]:
    """Make a function of `Code` and these kinds of arguments (`ADDRESS`, `NUMBER`, `REAL`) callable in loops."""

    def decorate(body: Callable[..., None]) -> Any:
        def type_call(typing_context: Any, *given: Any) -> Any:  # noqa: ARG001
            return types.void(*kinds), generate

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            body(Code(builder), *arguments)
            return context.get_dummy_value()

        # Numba wants a parameter for each argument by name.
        parameters = [Parameter(f"p{n}", Parameter.POSITIONAL_OR_KEYWORD) for n in range(len(kinds) + 1)]
        type_call.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        return intrinsic(type_call)

    return decorate
