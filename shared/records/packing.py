"""How a record keeps what was asked and how it ended: two JSON texts in one string of bytes.

Three bytes of length, the packed manifest, and once the job is over the packed ending, which Redis appends. A text is
packed by deflate with a dictionary of what such texts have in common, so that a record costs a third of it; one that
Redis's script has written is plain JSON.
"""

import zlib

_LENGTH = 3
#: Begins a text that is packed with `_COMMON`; a plain one begins with a brace.
_DEFLATED = b"\x01"

# Never to be changed, for records are packed with it: a better one gets another first byte. Most common words last.
_COMMON = (
    b'{"error":{"code":"chunk_failed","message":" came to nothing in  attempts; the last one: its worker died, or '
    b"hung, or lost touch with Redis. If it is this recording alone, convert it with another program and "
    b'send it again",'
    b'"stage":"vocode","attempts":3,"cause":"audio_unreadable","audio_too_long","audio_empty","invalid_mel"}}'
    b'"batch":{"id":"","item":0},"client_id":"","retry_of":"","url":"https://","webhook":"https://www..com/webhooks/",'
    b'"webhook_events_filter":["job.succeeded","job.failed","job.canceled","job.expired"],'
    b'"npy","ogg","mp3","aiff","audio/mpeg","audio/ogg","audio/aiff","application/x-npy",.mp3","m4a",.flac",.wav",'
    b'{"output":{"format":"flac","media_type":"audio/flac","filename":"-restored.flac","bytes":1,"samples":'
    b'{"output":{"format":"wav","media_type":"audio/wav","filename":"-restored.wav","bytes":1,"samples":132300,'
    b'"sample_rate":44100,"bit_depth":16,"channels":1,"gain_db":0.0,"needs_review":false}}'
    b'{"id":"","created_at":17,"owner":"local","input":{"key":"jobs//source","filename":".wav","bytes":'
    b'},"options":{"stages":["restore","vocode"],"mode":0,"seed":0,"priority":"bulk","deadline_seconds":604800.0,'
    b'"output":{},"metadata":{}}}"priority":"interactive","deadline_seconds":604800.0,"output":{},"metadata":{}}}'
)


def pack_manifest(text: str) -> bytes:
    """Begin a record's document with what was asked."""
    packed = _pack(text)
    return len(packed).to_bytes(_LENGTH, "big") + packed


def pack_ending(text: str) -> bytes:
    """Give what is appended to a record's document when its job is over."""
    return _pack(text)


def unpack(document: bytes) -> tuple[str, str | None]:
    """Read a record's document: what was asked, and how it ended if it has.

    Raises:
        ValueError: if it is none.
    """
    stop = _LENGTH + int.from_bytes(document[:_LENGTH], "big")
    ending = document[stop:]
    return _unpack(document[_LENGTH:stop]), _unpack(ending) if ending else None


def _pack(text: str) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=_COMMON)
    return _DEFLATED + packer.compress(text.encode()) + packer.flush()


def _unpack(packed: bytes) -> str:
    if not packed.startswith(_DEFLATED):
        return packed.decode()
    try:
        return zlib.decompressobj(-15, zdict=_COMMON).decompress(packed[1:]).decode()
    except zlib.error as error:
        raise ValueError("the document of a record cannot be read") from error
