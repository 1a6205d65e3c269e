"""What can be wrong with a recording. Every message is for the person who sent it."""

from typing import ClassVar

from shared.errors import ServiceError


class AudioError(ServiceError):
    """Base: this file cannot be restored; sending it again will not help."""

    code: ClassVar[str] = "audio_error"


class AudioUnreadable(AudioError):
    """No decoder here understands the file, or it is too damaged to begin."""

    code: ClassVar[str] = "audio_unreadable"


class AudioEmpty(AudioError):
    """A well-formed file, or none at all, without a single sample."""

    code: ClassVar[str] = "audio_empty"


class AudioMissing(AudioError):
    """A readable file, a video for instance, that has no sound."""

    code: ClassVar[str] = "audio_missing"


class AudioNotFinite(AudioError):
    """Samples that are NaN, infinite or absurdly large."""

    code: ClassVar[str] = "audio_not_finite"


class AudioTooLong(AudioError):
    """Longer than the service allows."""

    code: ClassVar[str] = "audio_too_long"


class AudioTooManyChannels(AudioError):
    """More channels than the service handles."""

    code: ClassVar[str] = "audio_too_many_channels"


class AudioRateUnsupported(AudioError):
    """A sample rate outside what the service handles."""

    code: ClassVar[str] = "audio_rate_unsupported"
