"""Errors that callers can act on: a stable `code` for machines, a sentence for people."""

from typing import ClassVar


class ServiceError(Exception):
    """
    Base of every error that the service raises on purpose.

    The message says what the user can do, names the setting to look at, and holds no secret.
    """

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class SettingsError(ServiceError):
    """A setting is missing or wrong; the message names it."""

    code: ClassVar[str] = "settings_error"


class InvalidRequest(ServiceError):
    """What the caller asked for cannot be done, and asking again will not help."""

    code: ClassVar[str] = "invalid_request"


class InvalidKey(InvalidRequest):
    """A storage key is not a plain relative path."""

    code: ClassVar[str] = "invalid_key"


class QueueUnavailable(ServiceError):
    """Redis cannot be reached, or refuses to work."""

    code: ClassVar[str] = "queue_unavailable"


class StorageError(ServiceError):
    """Storage answered, but not with what was asked for."""

    code: ClassVar[str] = "storage_error"


class ObjectMissing(StorageError):
    """There is no object under this key."""

    code: ClassVar[str] = "object_missing"


class StorageUnavailable(StorageError):
    """Storage cannot be reached, or its bucket or folder is not there."""

    code: ClassVar[str] = "storage_unavailable"


class StorageDenied(StorageError):
    """Storage refuses our keys, or the folder's permissions do."""

    code: ClassVar[str] = "storage_denied"
