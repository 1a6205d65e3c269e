"""Where VoiceFixer's weights are on this machine, and how they get here."""

from typing import ClassVar

from cli.errors import CommandError
from shared.settings import Settings


class NoWeights(CommandError):
    """The weights are not here and cannot be fetched."""

    code: ClassVar[str] = "weights_unavailable"


def missing(settings: Settings) -> list[str]:
    raise NotImplementedError


def require(settings: Settings) -> None:
    raise NotImplementedError


def fetch(settings: Settings) -> None:
    raise NotImplementedError
