"""What went wrong with an attempt, by what should be done about it."""

import errno

from shared.errors import ObjectMissing, QueueUnavailable, ServiceError, StorageError

#: The machine has no room, or its disk is out of order: another worker, or this one later, may do it.
_LOCAL = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EROFS}


class NotYet(Exception):
    """
    What a piece needs of others is away; it is waited for, but not as long as for what is ours.

    Attributes:
        error: with which its job fails in the end
        most: times that the piece is put off

    """

    def __init__(self, error: ServiceError, *, most: int) -> None:
        super().__init__(error.message)
        self.error, self.most = error, most


def is_passing(error: BaseException) -> bool:
    """Whether the same work may succeed later, with nothing wrong in it: storage, Redis or the disk failed."""
    if isinstance(error, ObjectMissing):
        return False
    if isinstance(error, StorageError | QueueUnavailable):
        return True
    return isinstance(error, OSError) and error.errno in _LOCAL


def is_memory(error: BaseException) -> bool:
    """Whether memory ran out."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
