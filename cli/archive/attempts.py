"""What jobs of an archive are called, and which errors are worth another attempt."""

import json
import os
from hashlib import sha256

#: What is wrong with the recording, or with what was asked of it, stays wrong: such a file is tried again only when
#: it, or the options, have changed. Anything else may pass, also what a later server may call by a new code.
FOR_GOOD = frozenset(
    (
        "audio_unreadable",
        "audio_empty",
        "audio_missing",
        "audio_not_finite",
        "audio_too_many_channels",
        "audio_rate_unsupported",
        "audio_error",
        "output_not_possible",
        "mel_unreadable",
        "mel_invalid",
        "model_input_invalid",
        "file_empty",
        "invalid_request",
    )
)


def may_pass(code: str) -> bool:
    """Whether another attempt may fare better."""
    return code not in FOR_GOOD


def job_name(archive: str, path: str, digest: str, options: str, attempt: int) -> str:
    """Name the job of an attempt at a file: the same whoever asks again, so that no job is made twice.

    Args:
        archive: the archive's own random id
        path: of the file, relative to the archive
        digest: sha256 of its bytes
        options: digest of the options
        attempt: counts from 1
    """
    parts = [archive, os.fsencode(path).hex(), digest, options, attempt]
    return f"archive-{sha256(json.dumps(parts).encode()).hexdigest()}"
