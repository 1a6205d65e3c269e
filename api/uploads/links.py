"""Signed URLs of our own: whoever has one may send these bytes, with no key, until it expires."""

import hmac
import re
import secrets
import time
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any, cast

import redis
from flask import request, url_for

from api.services import Services
from api.uploads.errors import SignatureExpired, SignatureInvalid
from shared.errors import QueueUnavailable

_DIGITS = re.compile(r"[0-9]{1,12}")


class Links:
    """Signs and checks, with the key of the settings or one that all API processes share in Redis."""

    def __init__(self, to: Services) -> None:
        self._to = to

    def sign(self, upload_id: str, number: int, *, whole: bool, seconds: int) -> str:
        """Give the absolute URL that takes a part, or the *whole*, by PUT."""
        expires = str(int(time.time()) + seconds)
        signature = self._signature(upload_id, number, expires)
        given: dict[str, Any] = {"upload_id": upload_id, "expires": expires, "signature": signature}
        place = "uploads.put_content" if whole else "uploads.put_part"
        return self._base() + url_for(place, **(given if whole else {"number": number, **given}))

    def check(self, upload_id: str, number: int, expires: str, signature: str) -> None:
        """See that a URL is one of ours, and still holds.

        Raises:
            SignatureInvalid, SignatureExpired: if not.
            QueueUnavailable: if Redis is down.
        """
        good = _DIGITS.fullmatch(expires) and hmac.compare_digest(
            self._signature(upload_id, number, expires).encode(), signature.encode("utf-8", "replace")
        )
        if not good:
            raise SignatureInvalid("This URL is none that the service has signed; ask for the upload's URLs again.")
        if int(expires) < time.time():
            raise SignatureExpired("This URL has expired; ask for the upload's URLs again.")

    def _signature(self, upload_id: str, number: int, expires: str) -> str:
        text = f"PUT\n{upload_id}\n{number}\n{expires}"
        return urlsafe_b64encode(hmac.digest(self._key(), text.encode(), sha256)).decode().rstrip("=")

    def _key(self) -> bytes:
        # Asked for each time: a Redis that was lost has another one, for all processes at once.
        if self._to.settings.signing_key is not None:
            return self._to.settings.signing_key.get_secret_value().encode()
        name = f"{self._to.settings.key_prefix}signing-key"
        try:
            found = self._to.client.get(name)
            if found is None:
                self._to.client.set(name, secrets.token_hex(32), nx=True)
                found = self._to.client.get(name)
        except redis.RedisError as error:
            raise QueueUnavailable(f"Redis cannot be used right now ({type(error).__name__})") from error
        return cast(str, found).encode()

    def _base(self) -> str:
        # url_for writes the path below which the application lies, if it lies below one.
        return self._to.settings.public_url or request.host_url.rstrip("/")
