"""JSON whose one long member is taken out while it comes in, so that it is never in memory as a whole."""

import json
import re
from collections.abc import Callable

from api.http.strictjson import NotJson

_STRUCTURE = re.compile(rb'["{}\[\]:,]')
_IN_STRING = re.compile(rb'["\\]')
#: As much of a string as is whole: some programs escape every + or /, and one by one they would take minutes.
_WHOLE = re.compile(rb'(?:[^"\\]++|\\(?:u[0-9a-fA-F]{4}|[^u]))++')
_LONGEST_ESCAPE = len(rb"\uXXXX")


class SplitJson:
    """Reads a text in pieces: the strings of members called *name* go elsewhere, all else is kept, with "" for them.

    Those of the outermost object go to *take*, as they stand between their quotes, in pieces; those further in, to
    *drop*. It does not check the text: what is kept is JSON exactly if the whole was.

    Raises:
        NotJson: from `feed`, for an escape in such a string that is none.
    """

    def __init__(self, name: str, take: Callable[[bytes], None], drop: Callable[[bytes], None]) -> None:
        self.kept = bytearray()
        self._name = name
        self._take = take
        self._drop = drop
        self._open = bytearray()
        self._step = self._outside
        self._key_comes = False
        self._key = bytearray()
        self._last_key = ""
        self._escape = bytearray()

    def feed(self, piece: bytes) -> None:
        """Read on."""
        at = 0
        while at < len(piece):
            at = self._step(piece, at)

    def _outside(self, piece: bytes, at: int) -> int:
        found = _STRUCTURE.search(piece, at)
        stop = found.end() if found else len(piece)
        self.kept += piece[at:stop]
        if found:
            self._structure(found[0])
        return stop

    def _structure(self, mark: bytes) -> None:
        if mark == b'"':
            self._begin_string()
            return
        if mark in b"{[":
            self._open += mark
        elif mark in b"}]":
            del self._open[-1:]
        self._key_comes = mark in b"{," and self._open[-1:] == b"{"
        if mark != b":":
            self._last_key = ""

    def _begin_string(self) -> None:
        if self._key_comes:
            self._key.clear()
            self._step = self._in_key
        elif self._last_key == self._name:
            self._step = self._in_member
        else:
            self._step = self._in_value

    def _in_key(self, piece: bytes, at: int) -> int:
        stop, closed = self._pass(piece, at)
        self._key += piece[at:stop]
        if closed:
            self._key_comes = False
            self._last_key = _text(b'"' + self._key)
        return stop

    def _in_value(self, piece: bytes, at: int) -> int:
        return self._pass(piece, at)[0]

    def _pass(self, piece: bytes, at: int) -> tuple[int, bool]:
        """Keep a string's bytes up to its end, or to what comes after a backslash, or to the end of the piece."""
        if self._escape:  # this byte was announced by a backslash, and ends nothing
            self._escape.clear()
            self.kept += piece[at : at + 1]
            return at + 1, False
        found = _IN_STRING.search(piece, at)
        stop = found.end() if found else len(piece)
        self.kept += piece[at:stop]
        closed = found is not None and found[0] == b'"'
        if closed:
            self._step = self._outside
        elif found:
            self._escape += b"\\"
        return stop, closed

    def _in_member(self, piece: bytes, at: int) -> int:
        if self._escape:
            return self._in_escape(piece, at)
        found = _WHOLE.match(piece, at)
        stop = found.end() if found else at
        self._hand_on(_undone(piece[at:stop]))
        if stop == len(piece):
            return stop
        if piece[stop : stop + 1] == b'"':
            self.kept += b'"'
            self._last_key = ""
            self._step = self._outside
        else:  # an escape that ends in the next piece, or is none
            self._escape += b"\\"
        return stop + 1

    def _in_escape(self, piece: bytes, at: int) -> int:
        self._escape += piece[at : at + 1]
        whole = _LONGEST_ESCAPE if self._escape[1:2] == b"u" else 2
        if len(self._escape) == whole:
            self._hand_on(_undone(self._escape))
            self._escape.clear()
        return at + 1

    def _hand_on(self, data: bytes) -> None:
        if data:
            (self._take if len(self._open) == 1 else self._drop)(data)


def _undone(data: bytes | bytearray) -> bytes:
    """Undo the escapes of a part of a string, in which a character may be cut."""
    if b"\\" not in data:
        return bytes(data)
    text = _text(f'"{data.decode(errors="surrogateescape")}"', strict=False)
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # half of a pair
        return text.encode(errors="replace")


def _text(string: bytes | bytearray | str, *, strict: bool = True) -> str:
    try:
        return str(json.loads(string, strict=strict))
    except ValueError:
        raise NotJson("a string with an escape that is none, or not in UTF-8") from None
