"""API keys: make, list, revoke. They lie in storage, so that no server needs to run."""

from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from cli.errors import CommandError, UsageProblem
from cli.folder import default_folder
from cli.output import emit, say, tell
from shared.access import ApiKey, KeyShelf, Scope
from shared.connections import open_store
from shared.settings import load_settings

_SCOPES: tuple[Scope, ...] = ("submit", "read", "admin")
_MOST_NAME = 100


def run_create(
    name: str, scopes: list[str], submits: int | None, jobs: int | None, data: Path | None, *, as_json: bool
) -> None:
    """Make a key and show it, this once."""
    if not name.strip() or len(name) > _MOST_NAME or not name.isprintable():
        raise UsageProblem(f"The name must have 1 to {_MOST_NAME} characters that can be shown.")
    if unknown := [scope for scope in scopes if scope not in _SCOPES]:
        raise UsageProblem(f"--scope: {unknown[0]} is none; there are {', '.join(_SCOPES)}.")
    wanted = cast(tuple[Scope, ...], tuple(dict.fromkeys(scopes)))
    key, token = _shelf(data).create(name, wanted, submits_per_minute=submits, max_open=jobs)
    if as_json:
        emit({**_shown(key), "key": token.text})
        return
    tell(token.text)
    say(f"This is the key of {name} ({key.id}; {', '.join(wanted)}). It cannot be shown again: keep it safe.")


def run_list(data: Path | None, *, as_json: bool) -> None:
    """Show all keys, without their texts."""
    for key in sorted(_shelf(data).all(), key=lambda one: one.created_at):
        if as_json:
            emit(_shown(key))
            continue
        state = f"revoked {_time(key.revoked_at)}" if key.revoked_at else "valid"
        tell(f"{key.id}  {','.join(key.scopes)}  {_time(key.created_at)}  {state}  {key.name}")


def run_revoke(key_id: str, data: Path | None, *, as_json: bool) -> None:
    """Let a key open nothing any more."""
    key = _shelf(data).revoke(key_id)
    if key is None:
        raise CommandError(f"There is no key {key_id}; `voicefixer-queue keys list` shows all.")
    if as_json:
        emit(_shown(key))
        return
    tell(f"{key.id} ({key.name}) is revoked; servers notice within seconds. Its jobs stay.")


def _shelf(data: Path | None) -> KeyShelf:
    """The keys of the storage that the environment names, otherwise those of a one-machine stack's folder."""
    settings = load_settings()
    if data is not None or "storage_url" not in settings.model_fields_set:
        objects = (data or default_folder()).absolute() / "objects"
        objects.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings = load_settings(storage_url=objects.as_uri())
    return KeyShelf(open_store(settings))


def _shown(key: ApiKey) -> dict[str, object]:
    shown = key.model_dump(exclude={"hash"})
    return shown | {"created_at": _time(key.created_at), "revoked_at": key.revoked_at and _time(key.revoked_at)}


def _time(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds or 0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
