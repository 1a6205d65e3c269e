"""Reading a multipart form while it comes in: the file goes to storage, piece by piece, and nowhere else."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData, State

from api.errors import (
    FieldError,
    FileEmpty,
    FileMissing,
    FormTooLarge,
    MalformedForm,
    Unprocessable,
    UploadIncomplete,
    UploadTooLarge,
    pointer,
)
from api.http.bodies import FORM_BYTES, Sink, pieces
from api.jobs.fields import is_option

FORM_PARTS = 100

_MISSING = "The form needs one part `file`, with a file name, that holds the recording."

_NO_FORM = "The body is not the multipart form that its Content-Type promises; check boundary and part headers."


@dataclass(frozen=True)
class Upload:
    """What a form held beside the bytes of its file."""

    filename: str
    size: int
    fields: list[tuple[str, str]]


def receive(stream: IO[bytes], boundary: bytes, out: Sink, *, max_bytes: int) -> Upload:
    """Write the part `file` of a form to *out*, uncommitted, and give the rest.

    Raises:
        RequestError: if the form is broken, too large, or does not hold exactly one file with bytes in it.
    """
    decoder = MultipartDecoder(boundary, max_form_memory_size=FORM_BYTES, max_parts=FORM_PARTS)
    form = _Form(out, max_bytes)
    try:
        for piece in pieces(stream):
            decoder.receive_data(piece)
            form.take(_events(decoder))
        decoder.receive_data(None)
    except RequestEntityTooLarge as error:
        raise _too_large() from error
    except ValueError as error:
        raise MalformedForm(_NO_FORM) from error
    try:
        form.take(_events(decoder))
    except ValueError as error:
        if decoder.state is State.PREAMBLE:
            raise MalformedForm(_NO_FORM) from error
        raise UploadIncomplete("The form ended before its closing boundary; send it again.") from error
    return form.whole()


def _events(decoder: MultipartDecoder) -> Iterator[Event]:
    while not isinstance(event := decoder.next_event(), NeedData):
        yield event
        if isinstance(event, Epilogue):
            return


@dataclass
class _Form:
    """The form so far. `part` is the field being read; without one, data belong to the file."""

    out: Sink
    max_bytes: int
    filename: str | None = None
    size: int = 0
    part: str | None = None
    text: bytearray = field(default_factory=bytearray)
    fields: list[tuple[str, str]] = field(default_factory=list)
    room: int = FORM_BYTES

    def take(self, events: Iterator[Event]) -> None:
        for event in events:
            if isinstance(event, File) and event.name == "file":
                self._begin_file(event)
            elif isinstance(event, File | Field):
                self._begin_field(event)
            elif isinstance(event, Data) and self.part is None:
                self._file_data(event.data)
            elif isinstance(event, Data):
                self._field_data(event)

    def whole(self) -> Upload:
        if self.filename is None:
            raise FileMissing(_MISSING)
        if not self.size:
            raise FileEmpty("The file is empty.")
        return Upload(self.filename, self.size, self.fields)

    def _begin_file(self, event: File) -> None:
        if self.filename is not None:
            raise Unprocessable.of(FieldError("#/file", "is given twice; one job has one recording"))
        if not event.filename:
            raise FileMissing(_MISSING)
        self.filename = event.filename
        self.part = None

    def _begin_field(self, event: File | Field) -> None:
        if event.name is None:
            raise MalformedForm("A part of the form has no name.")
        if event.name == "file":
            raise FileMissing(_MISSING)
        if isinstance(event, File) and not is_option(event.name):
            detail = "there is no file of this name; the recording goes into the part `file`"
            raise Unprocessable.of(FieldError(pointer([event.name]), detail))
        self.part = event.name

    def _file_data(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self.max_bytes:
            raise upload_too_large(self.max_bytes)
        self.out.write(data)

    def _field_data(self, event: Data) -> None:
        assert self.part is not None
        self.room -= len(event.data)
        if self.room < 0:
            raise _too_large()
        self.text += event.data
        if event.more_data:
            return
        try:
            self.fields.append((self.part, self.text.decode()))
        except UnicodeDecodeError:
            raise Unprocessable.of(FieldError(pointer([self.part]), "is not text in UTF-8")) from None
        self.text.clear()


def upload_too_large(max_bytes: int) -> UploadTooLarge:
    """Say how large a recording may be."""
    return UploadTooLarge(f"The recording is larger than this service takes: {max_bytes} bytes.")


def _too_large() -> FormTooLarge:
    return FormTooLarge(f"Beside the file a form may hold {FORM_BYTES} bytes in {FORM_PARTS} parts.")
