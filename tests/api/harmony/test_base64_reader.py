"""Base64 is decoded as it comes, and nothing that is none passes."""

import base64
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import RequestError
from api.harmony.base64_reader import Base64Reader


def read(text: bytes, size: int, *, most: int = 10_000) -> bytes:
    out = io.BytesIO()
    reader = Base64Reader(out, max_bytes=most)
    for start in range(0, len(text), size):
        reader.feed(text[start : start + size])
    reader.finish()
    assert reader.size == len(out.getvalue())
    return out.getvalue()


@given(st.binary(max_size=200), st.integers(1, 70), st.booleans())
def test_it_gives_the_bytes_whatever_the_pieces(data, size, broken_into_lines):
    text = base64.encodebytes(data) if broken_into_lines else base64.b64encode(data)
    assert read(text, size) == data


def test_what_begins_as_a_data_url_does_and_is_none():
    data = base64.b64decode(b"dataDATA")
    for size in (1, 2, 5, 8):
        assert read(b"dataDATA", size) == data


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"!!!!", "not base64"),
        (b"QUJD-_8=", "not base64"),
        ("QUJÄ".encode(), "not base64"),
        (b"QUJDQ", "no multiple of four"),
        (b"QQ==QUJD", "base64"),
        (b"QQ==\nQUJD", "base64"),
        (b"=QQ=", "not base64"),
        (b"data:audio/wav;base64,QUJD", "data URL"),
        (b"DATA:,QUJD", "data URL"),
    ],
)
@pytest.mark.parametrize("size", [1, 4, 100])
def test_what_is_none_is_refused(text, says, size):
    with pytest.raises(RequestError) as caught:
        read(text, size)
    assert says in caught.value.message
    assert caught.value.status == 400


def test_it_writes_no_more_than_may_be():
    out = io.BytesIO()
    reader = Base64Reader(out, max_bytes=99)
    for _ in range(3):
        reader.feed(base64.b64encode(bytes(30)))
    with pytest.raises(RequestError) as caught:
        reader.feed(base64.b64encode(bytes(30)))
    assert caught.value.status == 413
    assert len(out.getvalue()) == 90
