"""The output check: whether someone should listen to a result, by what it and its source measure.

It looks for what cannot be right, not for what is not good: a limit is where no restoration of speech that is worth
having lies, so that nobody learns to overlook the mark. docs/reliability.md tells the limits.
"""

from collections.abc import Iterator

from shared.receipt import Check, Levels, Reason, Sound

SILENT_DBFS = -60.0
"""A channel whose highest sample is below this is silent."""
HEARD_DBFS = -50.0
"""One whose highest sample is above this is not."""
SILENT_MEL, HEARD_MEL = 0.001, 0.01
"""The same of a mel's highest magnitude; white noise of -60 dBFS has about 2e-2, a tone ten times that."""
NOISE_DBFS = -35.0
"""A noise floor below this is no runaway, whatever the source's is."""
NOISE_RISE_DB = 20.0
"""Nor one that rose by less."""
WHITE_FLATNESS, WHITE_DBFS = 0.5, -20.0
"""Flatter than any speech, and never quieter than this: noise at full scale."""
LOUDER_DB, QUIETER_DB = 15.0, -25.0
"""A band that is brought back makes a recording louder, noise that is taken out quieter; but not by more."""
FROM_NOTHING_DBFS = -45.0
"""What is louder than this and comes of silence was made up."""
CLIPPED_SHARE = 0.001
"""One sample in a thousand."""
LOST_DBFS = -120.0
"""Taken for what is below all measure."""


def check(source: Sound, result: Sound, *, expected: int) -> Check:
    """Compare a result with its source.

    Args:
        source: as it was sent.
        result: as it was written.
        expected: samples, or frames of a mel, that the result must have.
    """
    reasons = [
        *_not_finite(result),
        *_silence(source, result),
        *_noise(source.levels, result.levels),
        *_energy(source.levels, result.levels),
        *_length(result, expected),
        *_clipping(source.levels, result.levels),
    ]
    return Check(needs_review=bool(reasons), reasons=reasons)


def _not_finite(result: Sound) -> Iterator[Reason]:
    count = result.levels.not_finite if result.levels else result.not_finite
    if count:
        yield Reason(code="not_finite", detail=f"{count} values of the result are NaN or infinite.")


def _silence(source: Sound, result: Sound) -> Iterator[Reason]:
    before, after = _heights(source), _heights(result)
    if len(before) != len(after):  # mixed down
        before, after = [max(before, default=LOST_DBFS)], [max(after, default=LOST_DBFS)]
    lost = [
        str(number)
        for number, (one, other) in enumerate(zip(before, after, strict=True), 1)
        if one > HEARD_DBFS and other < SILENT_DBFS
    ]
    if lost:
        which = (
            "The result is silent" if len(lost) == len(after) else f"Silent in the result: channel {', '.join(lost)}"
        )
        yield Reason(code="silence", detail=f"{which}, and the source is not.")


def _heights(sound: Sound) -> list[float]:
    """Peaks of the channels in dBFS; of a mel one that says whether it is silent, is not, or may be either."""
    if sound.levels:
        return [_or_lost(peak) for peak in sound.levels.channel_peaks_dbfs]
    peak = sound.mel_peak or 0.0
    if SILENT_MEL <= peak < HEARD_MEL:
        return [(SILENT_DBFS + HEARD_DBFS) / 2]
    return [0.0 if peak >= HEARD_MEL else LOST_DBFS]


def _noise(before: Levels | None, after: Levels | None) -> Iterator[Reason]:
    if after is None or after.noise_floor_dbfs is None:
        return
    floor = after.noise_floor_dbfs
    if before and floor > NOISE_DBFS and floor - _or_lost(before.noise_floor_dbfs) > NOISE_RISE_DB:
        told = _told(before.noise_floor_dbfs, "dBFS")
        yield Reason(code="noise", detail=f"The noise floor rose from {told} to {floor:.1f} dBFS.")
    elif floor > WHITE_DBFS and _is_white(after) and not (before and _is_white(before)):
        detail = f"The result is noise: never below {floor:.1f} dBFS, with a spectrum as flat as {after.flatness:.2f}."
        yield Reason(code="noise", detail=detail)


def _is_white(levels: Levels) -> bool:
    return (levels.flatness or 0.0) > WHITE_FLATNESS


def _energy(before: Levels | None, after: Levels | None) -> Iterator[Reason]:
    if before is None or after is None:
        return
    name, unit, one, other = "loudness", "LUFS", before.loudness_lufs, after.loudness_lufs
    if one is None or other is None:  # silent, or too short or of too low a rate to have one
        name, unit, one, other = "level", "dBFS", before.rms_dbfs, after.rms_dbfs
    if one is None and _or_lost(other) > FROM_NOTHING_DBFS:
        yield Reason(code="energy", detail=f"The source is silent, and the result has {_told(other, unit)}.")
    elif one is not None and other is not None and not QUIETER_DB <= other - one <= LOUDER_DB:
        yield Reason(code="energy", detail=f"The {name} went from {one:.1f} to {other:.1f} {unit}.")


def _length(result: Sound, expected: int) -> Iterator[Reason]:
    found = result.samples if result.frames is None else result.frames
    if found != expected:
        what = "samples" if result.frames is None else "frames"
        yield Reason(code="length", detail=f"The result has {found} {what}; {expected} belong to the source.")


def _clipping(before: Levels | None, after: Levels | None) -> Iterator[Reason]:
    if after is None or after.clipped_share <= CLIPPED_SHARE:
        return
    if before is None or after.clipped_share > before.clipped_share:
        yield Reason(code="clipping", detail=f"{100 * after.clipped_share:.2f} % of the result's samples are clipped.")


def _or_lost(level: float | None) -> float:
    return LOST_DBFS if level is None else level


def _told(level: float | None, unit: str) -> str:
    return "silence" if level is None else f"{level:.1f} {unit}"
