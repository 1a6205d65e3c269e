"""Base64 that is decoded as it comes in."""

import binascii

from api.harmony.errors import AudioTooLarge, BadBase64
from api.http.bodies import Sink

_BLANK = b" \t\r\n"
_DATA_URL = b"data:"


class Base64Reader:
    """Writes what a text of base64 (RFC 4648, section 4; line breaks are passed over) holds to *out*.

    Attributes:
        size: bytes written so far

    """

    def __init__(self, out: Sink, *, max_bytes: int) -> None:
        self.size = 0
        self._out = out
        self._max = max_bytes
        self._left = b""
        self._began = False
        self._ended = False

    def feed(self, text: bytes) -> None:
        """Decode a piece.

        Raises:
            BadBase64: if it is none.
            AudioTooLarge: if it holds more bytes than may be.
        """
        text = self._left + text.translate(None, _BLANK)
        if not self._began:
            if text[: len(_DATA_URL)].lower() == _DATA_URL[: len(text)]:
                self._left = text
                if len(text) >= len(_DATA_URL):
                    raise BadBase64("source_audio is a data URL; send the base64 alone, without `data:…;base64,`.")
                return
            self._began = True
        whole = len(text) - len(text) % 4
        self._left = text[whole:]
        self._decode(text[:whole])

    def finish(self) -> None:
        """See that the text was whole.

        Raises:
            BadBase64: if not.
        """
        if self._left:
            raise BadBase64("source_audio ends in the midst of its base64: its length is no multiple of four.")

    def _decode(self, text: bytes) -> None:
        if not text:
            return
        if self._ended:
            raise BadBase64("source_audio goes on after the end of its base64.")
        try:
            data = binascii.a2b_base64(text, strict_mode=True)
        except ValueError:
            raise BadBase64("source_audio is not base64 of an audio file (A-Z a-z 0-9 + / and = at the end).") from None
        self._ended = text.endswith(b"=")
        self.size += len(data)
        if self.size > self._max:
            raise AudioTooLarge(
                f"source_audio holds more than the {self._max} bytes that this route takes; "
                "send larger recordings to /v1/jobs."
            )
        self._out.write(data)
