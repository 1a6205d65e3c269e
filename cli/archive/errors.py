"""What stops an archive run, and what spoils one file of it."""

import errno
from enum import StrEnum

from cli.errors import CommandError


class ArchiveError(CommandError):
    """The run cannot begin, or cannot go on; what is done stays done."""


class Interrupted(CommandError):
    """Stopped by Ctrl-C; what is done stays done."""

    code = "interrupted"


class Stopped(Exception):
    """The run ends, as the threads hear of it."""


class Trouble(StrEnum):
    """What can be wrong with a file on this side; the server has codes of its own."""

    SOURCE_UNREADABLE = "source_unreadable"
    SOURCE_CHANGED = "source_changed"
    FOLDER_UNREADABLE = "folder_unreadable"
    OUTPUT_EXISTS = "output_exists"
    OUTPUT_OUTSIDE = "output_outside"
    OUTPUT_UNWRITABLE = "output_unwritable"
    RESULT_DAMAGED = "result_damaged"
    RESULT_GONE = "result_gone"


class FileTrouble(Exception):
    """One file cannot be restored; the others can."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


#: With one of these no other file would fare better.
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def writing_failed(error: OSError, what: str) -> Exception:
    """Tell whether a failed write concerns one file or, as a full disk does, all of them."""
    reason = error.strerror or type(error).__name__
    if error.errno in _OF_THE_DISK:
        return ArchiveError(f"{what} cannot be written: {reason}. Make room, then go on with --resume.")
    return FileTrouble(Trouble.OUTPUT_UNWRITABLE, f"The result cannot be written: {reason}.")
