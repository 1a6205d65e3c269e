"""What the commands for callers do: a stack, files, jobs."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cli.client import Client, Document
from cli.models import Models
from cli.options import check
from cli.output import emit, say, tell
from cli.places import Place, format_of, plan, refuse
from cli.progress import open_board, percent, stage
from cli.restore import Outcome, Wish, models_text, restore_files

_SOME_FAILED = 3
_SHORT_PATIENCE = 3.0
_KEPT_FORMATS = {".wav": "wav", ".flac": "flac", ".aif": "aiff", ".aiff": "aiff"}


def run_up(
    data: Path | None, host: str | None, port: int | None, models: Models, device: str | None, *, as_json: bool
) -> None:
    """Run the one-machine stack."""
    from cli.folder import default_folder
    from cli.stack import Running, StackOptions, run_stack

    def announce(running: Running) -> None:
        if as_json:
            emit({"url": running.url, "pid": os.getpid(), "data": str(running.data)})
        else:
            tell(f"voicefixer-queue is ready: {running.url} (documentation at {running.url}/docs)")
            say(f"Data and logs lie in {running.data}. Ctrl-C stops.")

    options = StackOptions(data or default_folder(), host, port, models, device)
    run_stack(options, announce=announce, say=say)


def run_restore(
    files: Sequence[Path],
    server: str | None,
    out: Path | None,
    options: Mapping[str, object],
    models: Models,
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Restore files and end with 0 if all went well, 3 if some did not."""
    models.check(server=server)
    places = plan(files, out)
    if (named := places[0].file) and options.get("output.format") is None:
        options = {**options, "output.format": format_of(named)}
    check(options)
    fields = {name: str(value) for name, value in options.items() if value is not None}
    for path, place in zip(files, places, strict=True):
        refuse(_expected(path, place, fields), files, overwrite=overwrite)

    def report(outcome: Outcome) -> None:
        if as_json:
            emit(outcome.document())

    wish = Wish(files, places, fields, overwrite)
    # A stack of this command's own has no keys.
    with _server(server, models) as url, Client(url, key=None if server else "") as client:
        client.check()
        with open_board() as board:
            outcomes = restore_files(client, wish, board, report)
    _conclude(outcomes)


def run_status(job_id: str, server: str, *, as_json: bool) -> None:
    """Show a job."""
    with Client(server, patience=_SHORT_PATIENCE) as client:
        _show(client.job(job_id), as_json=as_json)


def run_cancel(job_id: str, server: str, *, as_json: bool) -> None:
    """Ask a job to stop, and show it."""
    with Client(server, patience=_SHORT_PATIENCE) as client:
        _show(client.cancel(job_id), as_json=as_json)


def run_retry(job_id: str, server: str, *, as_json: bool) -> None:
    """Do a job again, and show the new one."""
    with Client(server, patience=_SHORT_PATIENCE) as client:
        _show(client.retry(job_id), as_json=as_json)


def run_list(limit: int, status: str | None, server: str, *, as_json: bool) -> None:
    """Show the youngest jobs, a line each."""
    with Client(server, patience=_SHORT_PATIENCE) as client:
        for job in client.jobs(limit, status):
            _show(job, as_json=as_json)


@contextmanager
def _server(server: str | None, models: Models) -> Iterator[str]:
    """URL of the server that was named, or of a stack that lives as long as the command."""
    if server:
        yield server
        return
    from cli.local import passing_stack

    with passing_stack(models) as url:
        yield url


def _expected(path: Path, place: Place, fields: Mapping[str, str]) -> Path:
    """Where the result will most likely lie: worth a look before an hour's work, checked again after it."""
    extension = fields.get("output.format") or _KEPT_FORMATS.get(path.suffix.lower(), "flac")
    return place.path("npy" if fields.get("stages") == "restore" else extension)


def _conclude(outcomes: Sequence[Outcome]) -> None:
    good = [outcome for outcome in outcomes if outcome.error is None]
    by = sorted({models_text(outcome.models) for outcome in good})
    say(f"{len(good)} of {len(outcomes)} restored" + (f" by {', '.join(by)}." if by else "."))
    if doubtful := [outcome.input.name for outcome in good if outcome.review is not None]:
        say(f"Listen to {len(doubtful)} of them, which may have gone wrong: {', '.join(doubtful)}.")
    if len(good) < len(outcomes):
        sys.exit(_SOME_FAILED)


def _show(job: Document, *, as_json: bool) -> None:
    if as_json:
        emit(job)
        return
    line = f"{job.get('id')}  {job.get('status')}"
    if job.get("status") == "processing":
        line += f"  {stage(job)} {percent(job):.0f}%"
    if (job.get("output") or {}).get("needs_review"):
        line += "  needs review"
    error: Mapping[str, Any] = job.get("error") or {}
    name = (job.get("input") or {}).get("filename") or ""
    tell("  ".join(part for part in (line, str(name), str(error.get("message", ""))) if part))
