"""The text of an API key: `vfq_`, the key's id, `_`, 256 random bits.

What is kept of it is a sha256, which cannot be turned back: there is nothing to guess in 256 random bits, so that a
slow hash would only slow requests down.
"""

import re
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest

_FORM = re.compile(r"vfq_(k[0-9a-f]{12})_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class Token:
    """
    A key as a caller sends it.

    Attributes:
        key_id: names the key; no secret
        text: the whole

    """

    key_id: str
    text: str = field(repr=False)

    @property
    def hash(self) -> str:
        """What is kept of it, as hexadecimal digits."""
        return sha256(self.text.encode()).hexdigest()

    def fits(self, kept: str) -> bool:
        """Whether it is the one of which this hash is kept; takes as long for any."""
        return compare_digest(self.hash, kept)


def new_token() -> Token:
    """Make a key's text."""
    key_id = f"k{secrets.token_hex(6)}"
    return Token(key_id, f"vfq_{key_id}_{secrets.token_urlsafe(32)}")


def parse_token(text: str) -> Token | None:
    """Read a key's text; None if it is none."""
    found = _FORM.fullmatch(text)
    return Token(found[1], text) if found else None
