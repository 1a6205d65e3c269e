"""Does a client that knows the OpenAPI document alone find answers that it does not tell of?

``python -m bench.schema [--examples 50] [--seed N]`` lets schemathesis go through every route of a real service with
things in every state: without a key where there is none, with a plain key, with an admin's, and without one where
there are keys. All checks of its command line are on, and one more: the document must name the status of each answer.
Prints one JSON line, and exits 1 where there is a finding.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from bench.schema.client import Asked, ask
from bench.schema.world import World, made_world
from bench.service import COSTLESS_WORKER, Service, service
from shared.access import KeyShelf, Scope
from shared.storage import open_storage

_SETTINGS = {
    "VFQ_SUBMITS_PER_MINUTE": "0",
    "VFQ_READS_PER_MINUTE": "0",
    "VFQ_MAX_OPEN_BATCHES": "0",
    "VFQ_OUTGOING_ALLOW": "127.0.0.1",
}
#: A server takes a first key for good within seconds.
_NOTICED_SECONDS = 6.0

Headers = dict[str, str]


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.schema", description=__doc__)
    parser.add_argument("--examples", type=int, default=50, help="random requests to a route and caller")
    parser.add_argument("--seed", type=int, default=0, help="the same gives the same requests")
    parser.add_argument("--keep", type=Path, default=Path("build/schema"), help="folder for reports")
    asked = parser.parse_args(arguments)
    told: dict[str, Asked] = {}
    with (
        tempfile.TemporaryDirectory(prefix="vfq-schema-") as folder,
        service(Path(folder, "data"), workers=[COSTLESS_WORKER], environment=_SETTINGS) as running,
    ):
        url = f"http://127.0.0.1:{running.port}"
        for number, (name, headers, world) in enumerate(_callers(running, url)):
            keep = asked.keep.resolve() / name
            told[name] = ask(url, world, headers, keep, examples=asked.examples, seed=asked.seed + number)
            print(f"{name}: {told[name].requests} requests, {len(told[name].findings)} findings", file=sys.stderr)
    findings = [f"{name}: {finding}" for name, one in told.items() for finding in one.findings]
    good = not findings and not any(one.exit_code for one in told.values())
    routes, requests = max(one.routes for one in told.values()), sum(one.requests for one in told.values())
    summary = {"bench": "schema", "seed": asked.seed, "routes": routes, "requests": requests}
    print(json.dumps({**summary, "findings": findings, "passed": good}, ensure_ascii=False))
    return 0 if good else 1


def _callers(running: Service, url: str) -> Iterator[tuple[str, Headers, World]]:
    """Give who asks, how, and what there is to be asked for: first of all whoever asks where no key was made."""
    yield "no-keys", {}, _world(url, {})
    shelf = KeyShelf(open_storage(running.objects.as_uri()))

    def key(name: str, *scopes: Scope) -> Headers:
        return {"Authorization": f"Bearer {shelf.create(name, scopes)[1].text}"}

    app, other, admin = key("app", "submit", "read"), key("other", "submit", "read"), key("admin", "admin")
    time.sleep(_NOTICED_SECONDS)
    yield "plain-key", app, _world(url, app)
    yield "admin-key", admin, _world(url, other)
    yield "no-key", {}, _world(url, other)


def _world(url: str, headers: Headers) -> World:
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        return made_world(client)


if __name__ == "__main__":
    sys.exit(main())
