"""API keys: their form, and where they are kept."""

from shared.access.keys import ApiKey, KeyShelf, Scope
from shared.access.tokens import Token, new_token, parse_token

__all__ = ["ApiKey", "KeyShelf", "Scope", "Token", "new_token", "parse_token"]
