"""Which version of the package runs."""

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

PACKAGE = "voicefixer-queue"


def running_version() -> str:
    """Tell the version of the installed package."""
    with suppress(PackageNotFoundError):
        return version(PACKAGE)
    return "unknown"
