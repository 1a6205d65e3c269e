"""The process in which inputs are decoded: what C code does to it is seen from outside.

It reads inputs, each a kind (one byte) and a length (four, little endian) before its bytes, and answers each with a
line of JSON: `Outcome`'s fields.
"""

import io
import json
import os
import re
import resource
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from shared.errors import ServiceError
from worker.arrays import ArrayFormatError, parse_header
from worker.audio.decode import open_audio
from worker.audio.measure import Analysis
from worker.audio.resample import resample_blocks
from worker.models.constants import SAMPLE_RATE
from worker.steps.cut import mel_shape

SECONDS = 60.0
"""The longest recording that is taken here: an input that decodes to hours costs no more than one of a minute."""
ADDRESSES = 6 * 1024**3
"""Bytes of address space, so that a bomb ends this process and not the machine."""
RECORDING, MEL = b"r", b"m"
_NPY_HEAD = 256


def main() -> None:
    """Serve until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries that print must not garble the answers
    for kind, data in _inputs(sys.stdin.buffer):
        answers.write(json.dumps(_serve(kind, data)) + "\n")


def _inputs(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    while len(head := stream.read(5)) == 5:
        kind, size = struct.unpack("<cI", head)
        yield kind, stream.read(size)


def _serve(kind: bytes, data: bytes) -> dict[str, object]:
    _forget_peak()
    before, began = _status("VmRSS"), time.perf_counter()
    try:
        code, samples = "", decode(data) if kind == RECORDING else read_mel(data)
    except ServiceError as error:
        code, samples = error.code, 0
    except ArrayFormatError as error:
        code, samples = error.code, 0
    except Exception as error:  # what the product does not expect is what is looked for
        code, samples = f"{type(error).__name__}: {error}"[:200], -1
    return {
        "code": code,
        "samples": samples,
        "seconds": round(time.perf_counter() - began, 4),
        "grown_kib": max(_status("VmHWM") - before, 0),
        "rss_kib": _status("VmRSS"),
        "files": len(list(Path("/proc/self/fd").iterdir())),
    }


def decode(data: bytes) -> int:
    """Do with a recording what the step `split` does; gives the samples per channel at 44.1 kHz."""
    with open_audio(io.BytesIO(data), name="x", max_seconds=SECONDS) as source:
        source.check_promise()
        analysis = Analysis(source.channels, noise=False)
        blocks = source.blocks(source.sample_rate)
        for block in resample_blocks(
            blocks, from_rate=source.sample_rate, to_rate=SAMPLE_RATE, channels=source.channels
        ):
            if block.dtype != np.float32 or block.shape[1] != source.channels:
                raise AssertionError(f"a block of {block.dtype} {block.shape}")
            analysis.add(block)
        return analysis.finish().frames


def read_mel(data: bytes) -> int:
    """Read the header of a mel as the step `split` does; gives its frames."""
    return mel_shape(parse_header(data[:_NPY_HEAD], len(data)))[1]


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) if found else 0


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    main()
