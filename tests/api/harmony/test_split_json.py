"""One long member is taken out of JSON that comes in pieces; all else stays."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.harmony.split_json import SplitJson
from api.http.strictjson import NotJson

NAME = "source_audio"
#: What is escaped as two halves is handed on as two question marks: no base64 has it.
texts = st.text(st.characters(exclude_categories=("Cs",), max_codepoint=0xFFFF), max_size=30)
keys = st.one_of(st.just(NAME), texts)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)
documents = st.dictionaries(keys, values, max_size=5)


def split(text: bytes, size: int) -> tuple[bytes, str, str]:
    taken, dropped = bytearray(), bytearray()
    reader = SplitJson(NAME, taken.extend, dropped.extend)
    for start in range(0, len(text), size):
        reader.feed(text[start : start + size])
    return bytes(reader.kept), taken.decode(), dropped.decode()


def without(value: object, out: list[str], depth: int = 0) -> object:
    """The same document with "" for each such string; those go to *out*, with how deep they stood."""
    if isinstance(value, list):
        return [without(one, out, depth + 1) for one in value]
    if not isinstance(value, dict):
        return value
    left = {}
    for name, one in value.items():
        if name == NAME and isinstance(one, str):
            out.append(("taken:" if depth == 0 else "dropped:") + one)
            left[name] = ""
        else:
            left[name] = without(one, out, depth + 1)
    return left


@settings(max_examples=300, deadline=None)
@given(documents, st.integers(1, 40), st.booleans(), st.sampled_from([None, 1]))
def test_what_is_kept_and_what_is_taken_is_the_whole_document(document, size, ascii_only, indent):
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode()
    kept, taken, dropped = split(text, size)
    moved: list[str] = []
    assert json.loads(kept) == without(document, moved)
    assert taken == "".join(one.removeprefix("taken:") for one in moved if one.startswith("taken:"))
    assert dropped == "".join(one.removeprefix("dropped:") for one in moved if one.startswith("dropped:"))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.integers(1, 9))
def test_any_bytes_are_read_or_refused(data, size):
    try:
        split(b'{"a": "' + data, size)
        split(data, size)
        split(b'{"source_audio": "' + data, size)
    except (NotJson, UnicodeDecodeError):
        pass


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_escapes_are_undone_even_across_pieces(size):
    text = rb'{"source\u005faudio": "a\/b\u003d\"", "x": "\\", "y": "\""}'
    assert split(text, size) == (rb'{"source\u005faudio": "", "x": "\\", "y": "\""}', 'a/b="', "")


def test_an_escape_that_is_none_is_refused():
    with pytest.raises(NotJson):
        split(rb'{"source_audio": "\x"}', 3)


@pytest.mark.parametrize("escape", [rb"\/", rb"\n", rb"\u002B"])
def test_escapes_are_undone_together(escape):
    """Not one by one: 128 MiB of audio from a program that escapes every + would take minutes, and all others wait."""
    taken = []
    reader = SplitJson(NAME, taken.append, lambda _: None)
    reader.feed(b'{"source_audio": "' + escape * 1000)
    reader.feed(escape * 1000 + b'"}')
    assert b"".join(taken) == json.loads(b'"' + escape + b'"').encode() * 2000
    assert len(taken) == 2
