"""What results are called: as their sources, with another extension, and never two alike.

A name depends on what lies in its folder and on nothing else, so that every run gives the same.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import PurePath

#: Extensions that a result may get.
RESULTS = frozenset(("wav", "flac", "aiff", "ogg", "mp3", "npy"))
#: Bytes that a file system lets a name have, less the longest extension and that of a receipt.
_MOST_BYTES = 255 - len(".flac.receipt.json")


def stems(files: Sequence[str], folders: Sequence[str] = ()) -> dict[str, str]:
    """Give the result of each file in a folder its name without extension.

    `talk.wav` alone becomes `talk`; beside `talk.mp3` they become `talk.wav` and `talk.mp3`, to which the extension of
    the result is added. Names that differ by case or by Unicode's forms alone count as equal: they are on many disks.

    Args:
        files: names of the files whose results lie in one folder
        folders: names of the folders there, which keep theirs
    """
    taken = Counter(_alike(_folder_stem(name)) for name in folders)
    by_stem = Counter(_alike(_stem(name)) for name in files) + taken
    first = {name: _stem(name) if by_stem[_alike(_stem(name))] == 1 else name for name in files}
    by_name = Counter(_alike(stem) for stem in first.values()) + taken
    second = {name: stem if by_name[_alike(stem)] == 1 else _marked(stem, name) for name, stem in first.items()}
    return {name: _short(stem, name) for name, stem in second.items()}


def _stem(name: str) -> str:
    return PurePath(name).stem


def _folder_stem(name: str) -> str:
    path = PurePath(name)
    return path.stem if path.suffix[1:].lower() in RESULTS else name + "/"  # no file's stem has a slash


def _alike(stem: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", stem).casefold())


def _marked(stem: str, name: str) -> str:
    return f"{stem}~{sha256(os.fsencode(name)).hexdigest()[:8]}"


def _short(stem: str, name: str) -> str:
    data = os.fsencode(stem)
    if len(data) <= _MOST_BYTES:
        return stem
    kept = data[: _MOST_BYTES - 9]
    while kept and kept[-1] & 0xC0 == 0x80:  # not in the middle of a character
        kept = kept[:-1]
    if kept and kept[-1] >= 0xC0:
        kept = kept[:-1]
    return _marked(os.fsdecode(kept), name)
