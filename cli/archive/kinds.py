"""Which files of an archive may hold sound: by their extension, and by their first bytes where that tells nothing.

What the workers can decode is told by `worker.audio.sniff`, by content alone. Here a file must only not be missed, and
clear strangers must not be sent: a wrong guess costs an upload, and the server's reason stands in the report.
"""

import re
from collections.abc import Callable
from pathlib import PurePath

_AUDIO = """
wav wave bwf rf64 w64 aif aiff aifc flac ogg oga opus spx mp1 mp2 mp3 mpa m4a m4b m4p m4r aac adts ac3 eac3 amr awb
3ga au snd caf voc sph nist 8svx svx 16sv iff ape wv tta tak dsf mpc mp+ wma ra dts
mp4 m4v mov qt 3gp 3g2 mkv mka webm avi asf wmv flv f4v mpg mpeg vob m2ts m2t mxf rm rmvb ogv ogx
"""
#: Known to be something else, so that they need not be opened. `.ts` and `.mts` are programs as often as videos.
_OTHER = """
txt md rst pdf doc docx odt rtf xls xlsx ods csv tsv json jsonl xml html htm css js yaml yml toml ini cfg conf log
nfo cue m3u m3u8 pls xspf sfv md5 sha1 sha256 sha512 ffp accurip asd pek pkf reapeaks sesx aup aup3 als rpp srt vtt
sub lrc eaf textgrid jpg jpeg png gif tif tiff bmp webp heic svg psd ico db sqlite ds_store ini lnk url bak tmp part
crdownload zip gz tgz bz2 xz 7z rar tar iso exe dll so py pyc sh bat ps1 mid midi npy
"""
AUDIO = frozenset(_AUDIO.split())
OTHER = frozenset(_OTHER.split())
HEAD = 4096

_HEADS = re.compile(
    rb"(RIFF|RIFX|RF64|BW64)....(WAVE|AVI )|riff\x2e\x91\xcf\x11|FORM....(AIF[FC]|8SVX|16SV)|\.snd|caff\x00\x01"
    rb"|Creative Voice File\x1a|NIST_1A\n|OggS\x00|fLaC|....(ftyp|moov|mdat|wide|skip|free|pnot)|\x1a\x45\xdf\xa3"
    rb"|\x30\x26\xb2\x75\x8e\x66\xcf\x11|FLV\x01|\x00\x00\x01\xba|#!AMR(-WB)?\n|MAC |wvpk|TTA1|tBaK"
    rb"|DSD \x1c\x00\x00\x00|MPCK|MP\+|\.RMF|\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02|ID3[\x02-\x04]|\x0b\x77",
    re.DOTALL,
)
#: AppleDouble: what macOS leaves beside a file on other file systems, under its name with "._" before it.
_SIDECAR = b"\x00\x05\x16"


def stranger(name: str, head: Callable[[], bytes], *, mels: bool = False) -> str | None:
    """Say why a file is none of ours, or None if it may be. *head* reads its first bytes, and is asked if need be.

    Args:
        name: of the file
        head: gives up to `HEAD` bytes; raises OSError if it cannot
        mels: the inputs are mels, `.npy`, instead of recordings
    """
    extension = PurePath(name).suffix[1:].lower()
    if mels:
        return None if extension == "npy" else "not_a_mel"
    if name.startswith("._"):
        try:
            return "sidecar" if head().startswith(_SIDECAR) else _by_extension(extension, head)
        except OSError:
            return None
    return _by_extension(extension, head)


def _by_extension(extension: str, head: Callable[[], bytes]) -> str | None:
    if extension in AUDIO:
        return None
    if extension in OTHER:
        return "not_audio"
    try:
        return None if _sounds(head()) else "not_audio"
    except OSError:
        return None  # whoever opens it will say what is wrong


def _sounds(head: bytes) -> bool:
    return bool(_HEADS.match(head)) or _is_transport_stream(head) or _is_mpeg_audio(head)


def _is_transport_stream(head: bytes) -> bool:
    return any(len(head) > at + 4 * step and all(head[at + n * step] == 0x47 for n in range(5))
               for at, step in ((0, 188), (4, 192)))  # fmt: skip


def _is_mpeg_audio(head: bytes) -> bool:
    """Whether a frame of MPEG audio or ADTS begins here: a sync word, no forbidden field (0xFFFE is UTF-16's mark)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    if head[1] & 0xF6 == 0xF0:  # ADTS
        return head[2] >> 2 & 15 < 13
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    return version != 1 and layer != 0 and 0 < head[2] >> 4 < 15 and head[2] >> 2 & 3 != 3
