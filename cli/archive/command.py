"""The command: sees that the run may begin, finds its server, lets it go, and says how it ended."""

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cli.archive.board import Count, open_board
from cli.archive.errors import ArchiveError, Interrupted
from cli.archive.lock import locked
from cli.archive.manifest import NAME, STACK_FOLDER, Manifest
from cli.archive.order import Order
from cli.archive.outcome import Outcome, Totals, shown
from cli.archive.placing import Shelf
from cli.archive.report import Report, check_report, line
from cli.archive.run import Ending, Run, count_up
from cli.archive.service import Service, Stop
from cli.archive.task import Tools, is_settled
from cli.archive.walk import Walk
from cli.client import Client
from cli.errors import UsageProblem
from cli.options import check
from cli.output import say, tell
from cli.signals import StopSignals

_SOME_FAILED = 2
#: A stack of our own is started again by nobody.
_OWN_PATIENCE = 90.0
_KEPT_FORMATS = {".wav": "wav", ".flac": "flac", ".aif": "aiff", ".aiff": "aiff"}


def run_archive(order: Order, options: dict[str, object], server: str | None, *, dry_run: bool, as_json: bool) -> None:
    """Restore an archive and end with 0 if all went well, 2 if files have failed."""
    check(options)
    _check(order, server)
    if dry_run:
        _pretend(order, as_json=as_json)
        return
    totals = Totals()
    with locked(order.target):
        ending = _restore(order, server, totals, as_json=as_json)
    _conclude(totals, ending, as_json=as_json)


def _check(order: Order, server: str | None) -> None:
    order.models.check(server=server)
    if order.resume and order.fresh:
        raise UsageProblem("--resume goes on, --fresh begins anew; choose one.")
    if order.target.exists() and not order.target.is_dir():
        raise UsageProblem(f"{order.target} is a file; the results need a folder.")
    if os.path.realpath(order.source) == os.path.realpath(order.target):
        raise UsageProblem("The results need another folder than the recordings, which are not touched.")
    check_report(order)


def _restore(order: Order, server: str | None, totals: Totals, *, as_json: bool) -> Ending:
    with ExitStack() as opened:
        manifest = _manifest(order)
        opened.callback(manifest.close)
        stop = Stop()
        shelf = Shelf(order.source, order.target, manifest)
        look = Tools(order, manifest, shelf, stop, None)
        walk = _walk(order)
        service = None
        if order.verify or order.fresh or any(not is_settled(look, one) for one in walk if one.wanted):
            url = opened.enter_context(_server(server, order))
            # A stack of this command's own has no keys.
            client = opened.enter_context(Client(url, key=None if server else ""))
            client.check()
            service = Service(client, stop, patience=order.patience if server else _OWN_PATIENCE)
        manifest.begin(order.source, fresh=order.fresh)
        report = Report(order.report)
        opened.callback(report.close)

        def hear(outcome: Outcome) -> None:
            report.write(outcome)
            if as_json:
                tell(line(outcome.document()))

        tools = Tools(order, manifest, shelf, stop, service, forget=not server)
        ending = _go(tools, walk, totals, hear)
    if ending == "complete" and not server:
        _clean_up(order)
    return ending


def _go(tools: Tools, walk: Walk, totals: Totals, hear: Callable[[Outcome], None]) -> Ending:
    count = Count()
    threading.Thread(target=count_up, args=(walk, count, tools.stop.check), daemon=True).start()
    with ExitStack() as shown_:
        signals = shown_.enter_context(StopSignals())
        board = shown_.enter_context(open_board(totals, count))

        def abandon() -> None:
            shown_.close()  # the cursor belongs to the terminal
            say("Stopped at once; --resume goes on, and finds the jobs that were sent.")
            os._exit(1)  # the threads may hang in a request; what is done is on the disk, and children die with us

        try:
            return Run(tools, board, totals, hear).go(walk, signals, abandon)
        finally:
            tools.stop.set()  # the count, too


def _manifest(order: Order) -> Manifest:
    path = order.target / NAME
    if path.exists() and not (order.resume or order.fresh):
        raise ArchiveError(
            f"{order.target} holds an archive already ({NAME}). Go on with --resume, begin anew with --fresh (results "
            "are replaced as they are made again), or choose another folder."
        )
    manifest = Manifest(path)
    if manifest.damaged:
        say(f"{manifest.damaged} lines of {path} cannot be read; their files are looked at anew.")
    if order.resume and manifest.source and manifest.source != str(order.source.absolute()):
        say(f"This archive was begun from {shown(manifest.source)}; files are told by their paths in it.")
    return manifest


def _walk(order: Order) -> Walk:
    return Walk(order.source, order.target, recursive=order.recursive, mels=order.mels, leave_out=order.report)


@contextmanager
def _server(server: str | None, order: Order) -> Iterator[str]:
    """URL of the server that was named, or of a stack whose data outlast this command."""
    if server:
        yield server
        return
    from cli.local import own_stack

    data = order.target / STACK_FOLDER
    if data.is_symlink():
        raise ArchiveError(f"{data} is a link; the data of the stack need a folder.")
    with own_stack(data, order.models) as url:
        yield url


def _clean_up(order: Order) -> None:
    """Delete the data of our own stack: every file has its line in the manifest."""
    data = order.target / STACK_FOLDER
    if data.is_dir() and not data.is_symlink():
        shutil.rmtree(data, ignore_errors=True)


def _pretend(order: Order, *, as_json: bool) -> None:
    """Say what would be done; nothing is written, and no server is asked."""
    manifest = Manifest(order.target / NAME, read_only=True)
    look = Tools(order, manifest, Shelf(order.source, order.target, manifest), Stop(), None)
    totals = {"restore": 0, "unchanged": 0, "failed": 0, "skip": 0}
    size = 0
    for found in _walk(order):
        document: dict[str, object] = {"path": found.path, "bytes": found.size}
        if found.skip:
            document |= {"would": "skip", "reason": found.skip}
        elif found.trouble:
            document |= {"would": "failed", "error": dict(zip(("code", "message"), found.trouble, strict=True))}
        elif not order.fresh and is_settled(look, found):
            last = manifest.last(found.path)
            assert last is not None
            would = "failed" if last.status == "failed" else "unchanged"
            document |= {"would": would, "output": last.output, "error": last.error}
        else:
            document |= {"would": "restore", "output": f"{found.stem}.{_extension(order, found.path)}"}
            size += found.size
        totals[str(document["would"])] += 1
        _show(document, as_json=as_json)
    manifest.close()
    if as_json:
        tell(line({"summary": {**totals, "bytes": size, "dry_run": True}}))
    else:
        say(", ".join(f"{number} {word}" for word, number in totals.items()) + "; nothing was done.")


def _show(document: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        tell(line(document))
        return
    text = f"{document['would']}  {shown(str(document['path']))}"
    if document["would"] == "restore":
        text += f" → {shown(str(document['output']))}"
    elif "reason" in document:
        text += f"  ({document['reason']})"
    tell(text)


def _extension(order: Order, path: str) -> str:
    """What the result will most likely be: the content decides."""
    if order.fields.get("stages") == "restore":
        return "npy"
    return order.fields.get("output.format") or _KEPT_FORMATS.get(Path(path).suffix.lower(), "flac")


def _conclude(totals: Totals, ending: Ending, *, as_json: bool) -> None:
    if as_json:
        counts = {name: getattr(totals, name) for name in ("restored", "unchanged", "failed", "skipped")}
        summary = {**counts, "needs_review": totals.needs_review, "bytes": totals.bytes, "ending": ending}
        tell(line({"summary": summary}))
    parts = [f"{totals.restored} restored", f"{totals.unchanged} unchanged", f"{totals.failed} failed"]
    say(", ".join(parts) + f", {totals.skipped} skipped.")
    if totals.needs_review:
        say(f"Listen to {totals.needs_review} of them, which may have gone wrong: needs_review in the report.")
    if ending == "interrupted":
        raise Interrupted("Stopped before the end; --resume goes on.")
    if ending == "stopped":
        say("Stopped at the first error, as --on-error says; --resume goes on.")
    if totals.failed:
        sys.exit(_SOME_FAILED)
