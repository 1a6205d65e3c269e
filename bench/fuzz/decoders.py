"""Damaged recordings and mels, one after the other, to the decoders in a child process."""

import random
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from bench.fuzz.child import MEL, RECORDING
from bench.fuzz.corpus import CASES, Case
from bench.fuzz.mutate import mutated
from bench.fuzz.seeds import mels, recordings
from bench.fuzz.subject import Subject
from bench.fuzz.tally import Tally

MELS = 0.05
"""Share of the inputs that are mels."""


def fuzz_decoders(
    seconds: float, seed: int, folder: Path, *, most: int = sys.maxsize, corpus: Sequence[Case] = CASES
) -> Tally:
    """Try the corpus, then damage for so long, or so many."""
    tally, until = Tally("decoders", folder), time.monotonic() + seconds
    with Subject() as subject:
        for case in corpus:
            outcome = _try(subject, tally, case.make(), case.kind, case.name)
            if outcome != case.code:
                tally.findings.append(f"{case.name}: {outcome or 'decoded'}, not {case.code or 'decoded'}")
        for kind, data in islice(_inputs(random.Random(seed)), most):
            if time.monotonic() > until:
                break
            _try(subject, tally, data, kind)
    tally.close()
    return tally


def _inputs(chance: random.Random) -> Iterator[tuple[bytes, bytes]]:
    sound = recordings() + [case.make() for case in CASES if _is_small(case)]
    arrays = mels()
    while True:
        if chance.random() < MELS:
            yield MEL, mutated(chance, arrays)
        else:
            yield RECORDING, mutated(chance, sound)


def _is_small(case: Case) -> bool:
    return case.kind == RECORDING and len(case.make()) < 10_000


def _try(subject: Subject, tally: Tally, data: bytes, kind: bytes, label: str = "") -> str:
    started = subject.started
    outcome = subject.give(data, kind)
    if subject.started != started:
        tally.restarted()
    ending = outcome.code if outcome.samples >= 0 else "fault"
    tally.note(ending or "decoded", data, seconds=outcome.seconds, grown_kib=outcome.grown_kib, label=label)
    if outcome.rss_kib:
        tally.level(outcome.rss_kib, outcome.files)
    if outcome.fault:
        tally.fault(outcome.fault, data)
    return outcome.code
