"""What is done to signals `[T, C]`, a row for each time, between their residual stacks."""

import numpy as np

from worker.backends.numba.cpu.compiling import Floats, compiled
from worker.backends.numba.cpu.products import PANEL, multiply
from worker.backends.numba.cpu.vectors import SIZE

ZERO = np.float32(0)

# π in three parts, whose products with a small integer are exact; and sin(r) ≈ r + r³·S(r²) up to π/2, to 2e-9
# (Abramowitz and Stegun, 4.3.97).
PI_1, PI_2, PI_3 = np.float32(3.140625), np.float32(9.670257568359375e-4), np.float32(6.2771141529083252e-7)
S3, S5, S7 = np.float32(-0.1666666664), np.float32(0.0083333315), np.float32(-0.0001984090)
S9, S11 = np.float32(0.0000027526), np.float32(-0.0000000239)
MOST_TURNS = np.float32(2**22)
ONE_BY_PI, HALF, TWO = np.float32(1 / np.pi), np.float32(0.5), np.float32(2)


@compiled()
def bend(x: Floats, slope: np.float32, first: int, last: int, target: Floats) -> None:
    """Rows `first` … `last` of y + sin(y), y = lrelu(x), into `target` from its start; zeros where `x` has none."""
    for t in range(first, last):
        if not 0 <= t < x.shape[0]:
            target[t - first] = ZERO
            continue
        source, into = x[t], target[t - first]
        for c in range(x.shape[1]):
            y = max(source[c], slope * source[c])
            turns = np.rint(y * ONE_BY_PI)
            r = ((y - turns * PI_1) - turns * PI_2) - turns * PI_3
            q = r * r
            sine = r + r * q * (S3 + q * (S5 + q * (S7 + q * (S9 + q * S11))))
            # Every other half turn is upside down.
            odd = turns - TWO * np.floor(turns * HALF)
            # Beyond that, neighbouring numbers are half turns apart, and their sine is nobody's guess.
            into[c] = y + (sine - TWO * odd * sine if abs(turns) < MOST_TURNS else y - y)


@compiled()
def spread(x: Floats, weights: Floats, bias: Floats, first: int, last: int, y: Floats) -> None:
    """Rows `first` … `last` of a transposed convolution of kernel 2u and stride u: y[j] = (x[j−1], x[j])·weights.

    `x` is `[rows, Cin]` and begins with row `first − 1`; `weights` are packed from `[2·Cin, u·Cout]`, `bias`
    `[u·Cout]`; `y` is `[rows, u·Cout]`: u rows of the output each.
    """
    wide = y.shape[1]
    for panel in range(len(weights)):
        column = SIZE * PANEL * panel
        # Two neighbouring rows lie one after the other, as one of twice the length.
        multiply(
            last - first, weights.shape[1], x.ctypes.data, SIZE * x.shape[1], weights[panel].ctypes.data,
            bias.ctypes.data + column, 0, y[first].ctypes.data + column, SIZE * wide,
        )  # fmt: skip


@compiled()
def pack_spread(weight: Floats, factor: int, first: int, last: int, packed: Floats) -> None:
    """Panels `first` … `last` of what `spread` multiplies by, `[panels, 2·Cin, PANEL]`, of `[Cin, Cout, 2·factor]`."""
    inputs, outputs, _ = weight.shape
    for panel in range(first, last):
        row, column = divmod(panel * PANEL, outputs)
        for k in range(inputs):
            for o in range(PANEL):
                packed[panel, k, o] = weight[k, column + o, factor + row]
                packed[panel, inputs + k, o] = weight[k, column + o, row]


@compiled(reorder=True)
def project(x: Floats, weights: Floats, slope: np.float32, first: int, last: int, y: Floats) -> None:
    """y[t] = weights · lrelu(x[t]) for rows `first` … `last`; `x` `[T, C]`, `weights` `[7, C]`, `y` `[T, 7]`."""
    for t in range(first, last):
        row = x[t]
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = ZERO
        for c in range(x.shape[1]):
            value = max(row[c], slope * row[c])
            s0 += value * weights[0, c]
            s1 += value * weights[1, c]
            s2 += value * weights[2, c]
            s3 += value * weights[3, c]
            s4 += value * weights[4, c]
            s5 += value * weights[5, c]
            s6 += value * weights[6, c]
        y[t, 0], y[t, 1], y[t, 2], y[t, 3], y[t, 4], y[t, 5], y[t, 6] = s0, s1, s2, s3, s4, s5, s6
