"""What an archive run is asked for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Literal

from cli.models import Models

#: Options that shape a result; the others say when a job is done, or are the caller's own.
_NOT_SHAPING = ("priority", "deadline_seconds", "metadata")


@dataclass(frozen=True)
class Order:
    """
    What is asked.

    Attributes:
        source: the folder with the recordings
        target: the folder for the results
        fields: options of every job, as form fields of the API
        models: of a stack of our own
        recursive: take the folders below as well
        resume: go on with what the manifest tells
        fresh: begin anew where there is a manifest
        verify: trust no size and time, work out every sha256
        jobs: so many files on their way at once
        on_error: what to do when a file fails
        report: file for a line per file
        receipts: keep the receipt beside each result
        patience: seconds for which a server may be away

    """

    source: Path
    target: Path
    fields: Mapping[str, str]
    models: Models = field(default_factory=Models)
    recursive: bool = False
    resume: bool = False
    fresh: bool = False
    verify: bool = False
    jobs: int = 8
    on_error: Literal["continue", "stop"] = "continue"
    report: Path | None = None
    receipts: bool = False
    patience: float = 3600.0

    @cached_property
    def digest(self) -> str:
        """Name the options that shape a result: equal options, equal digest."""
        shaping = {name: text for name, text in self.fields.items() if name not in _NOT_SHAPING}
        shaping |= {"models": self.models.pair} if self.models.pair else {}
        shaping |= {"config": sha256(self.models.config.read_bytes()).hexdigest()} if self.models.config else {}
        return sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def mels(self) -> bool:
        """Whether the inputs are mels, `.npy`."""
        return self.fields.get("stages") == "vocode"
