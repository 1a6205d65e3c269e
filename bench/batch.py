"""What does a large batch cost, and who waits for it?

``python -m bench.batch`` submits a batch of 50,000 items that nobody works on, and prints what Redis holds of it and
how long the queues are. Then it runs one of 2,000 half-second recordings through a service whose networks cost nothing,
with interactive jobs in the middle, and prints how long those waited. It exits 1 above 60 MB or 2 s, or where an item
did not succeed.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import redis

from api.app import create_app
from bench.overhead import wav_of
from bench.service import COSTLESS_WORKER, Service, form_of, service
from shared.connections import open_batches, open_records, open_repairs, open_store
from shared.outgoing import Outgoing
from shared.queues import STAGES, Dispatcher, celery_app, lanes_of, queue_name
from shared.records import Uploads, connect
from shared.settings import Settings
from tests.support.redis import redis_server
from worker.batches import BatchLeader
from worker.batches.context import Desk

MOST_MEGABYTES = 60.0
MOST_WAIT_SECONDS = 2.0
_PREFIX = "vfq:"
_KEY = "incoming/short.wav"
_SECONDS = 0.5
_INTERACTIVE = 10
#: Of the leader, until it has made all the jobs that it makes while none is done.
_LOOKS = 5


@dataclass(frozen=True)
class Waiting:
    """A batch that waits.

    Attributes:
        items: of the batch
        intake_seconds: until it was accepted
        redis_megabytes: more than before
        queued_messages: in all queues together
        open_jobs: that were made of it
    """

    items: int
    intake_seconds: float
    redis_megabytes: float
    queued_messages: int
    open_jobs: int


@dataclass(frozen=True)
class Run:
    """A batch that is worked on.

    Attributes:
        items: of the batch
        seconds: from the request to the end
        items_per_second: that were done
        redis_megabytes: at most, more than before
        queued_messages: at most, in all queues together
        open_jobs: at most
        interactive_wait_seconds: of jobs in the middle, until a worker began
        interactive_total_seconds: until their end
    """

    items: int
    seconds: float
    items_per_second: float
    redis_megabytes: float
    queued_messages: int
    open_jobs: int
    interactive_wait_seconds: list[float]
    interactive_total_seconds: list[float]


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.batch", description=__doc__)
    parser.add_argument("--waiting", type=int, default=50_000, help="items of the batch that waits")
    parser.add_argument("--items", type=int, default=2000, help="items of the batch that is worked on")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="vfq-batch-") as folder:
        waiting = _waiting(Path(folder, "waiting"), asked.waiting)
        print(json.dumps(asdict(waiting)), file=sys.stderr)
        with service(Path(folder, "run"), workers=[COSTLESS_WORKER]) as running:
            run = _run(running, asked.items)
    good = waiting.redis_megabytes <= MOST_MEGABYTES and max(run.interactive_wait_seconds) <= MOST_WAIT_SECONDS
    print(json.dumps({"bench": "batch", "waiting": asdict(waiting), "run": asdict(run), "passed": good}))
    return 0 if good else 1


def _lines(items: int) -> bytes:
    """Make the list: names and keys as an archive has them."""
    made = []
    for number in range(items):
        name = f"archive/shelf-{number // 1000:03d}/reel-{number // 20:05d}-take-{number % 20:02d}.wav"
        made.append(json.dumps({"custom_id": name, "input": {"key": _KEY}, "metadata": {"shelf": number // 1000}}))
    return "\n".join(made).encode()


def _waiting(folder: Path, items: int) -> Waiting:
    """Submit a batch where no worker is, and let its leader make what it makes."""
    with redis_server(folder / "redis") as server:
        settings = Settings(redis_url=server.url, storage_url=(folder / "objects").as_uri())
        client, store, records = connect(server.url), open_store(settings), open_records(settings)
        dispatcher = Dispatcher(celery_app(settings))
        store.put(_KEY, wav_of(_SECONDS))
        app = create_app(settings, records=records, store=store, dispatcher=dispatcher).test_client()
        desk = Desk(
            settings=settings,
            store=store,
            records=records,
            batches=open_batches(settings),
            dispatcher=dispatcher,
            outgoing=Outgoing(),
            uploads=Uploads(client, prefix=settings.key_prefix),
            crowded=lambda: False,
            still=lambda: None,
        )
        leader = BatchLeader(desk, open_repairs(settings))
        leader.look()
        before, began = _used(client), time.perf_counter()
        answer = app.post("/v1/batches", data=_lines(items), content_type="application/jsonl")
        if answer.status_code != 202 or answer.json is None:
            raise SystemExit(f"the batch: HTTP {answer.status_code} {answer.text[:500]}")
        intake = time.perf_counter() - began
        for _ in range(_LOOKS):
            leader.look()
        counts = json.loads(app.get(answer.json["urls"]["self"]).text)["request_counts"]
        if counts["queued"] != items:
            raise SystemExit(f"not all of it waits: {counts}")
        return Waiting(
            items=items,
            intake_seconds=round(intake, 2),
            redis_megabytes=round((_used(client) - before) / 1e6, 3),
            queued_messages=_queued(client),
            open_jobs=int(client.zcard(f"{_PREFIX}open:bulk")),
        )


def _run(running: Service, items: int) -> Run:
    """Run a batch, with interactive jobs in its middle."""
    client = connect(running.redis_url)
    recording = running.objects / _KEY
    recording.parent.mkdir(parents=True)
    recording.write_bytes(wav_of(_SECONDS))
    form = form_of(wav_of(_SECONDS))
    interactive: list[dict[str, Any]] = []
    with running.door() as door:
        door.wait(str(door.submit(form)["id"]), every=0.05)
        with _watched(client) as most:
            began = time.perf_counter()
            batch_id = str(door.submit_batch(_lines(items))["id"])
            while (batch := door.batch(batch_id))["completed_at"] is None:
                done = batch["request_counts"]["succeeded"]
                if done > items * (len(interactive) + 1) / (_INTERACTIVE + 1):
                    interactive.append(door.wait(str(door.submit(form)["id"]), every=0.05))
                time.sleep(0.2)
            seconds = time.perf_counter() - began
    if batch["request_counts"]["succeeded"] != items:
        raise SystemExit(f"not all of it succeeded: {batch['request_counts']}")
    waits = [float(job["metrics"]["queue_seconds"]) for job in interactive]
    totals = [wait + float(job["metrics"]["processing_seconds"]) for wait, job in zip(waits, interactive, strict=True)]
    return Run(
        items=items,
        seconds=round(seconds, 1),
        items_per_second=round(items / seconds, 1),
        redis_megabytes=round(most.memory / 1e6, 3),
        queued_messages=most.messages,
        open_jobs=most.jobs,
        interactive_wait_seconds=[round(one, 3) for one in waits],
        interactive_total_seconds=[round(one, 3) for one in totals],
    )


@dataclass
class _Most:
    """The most that was seen of each."""

    memory: int = 0
    messages: int = 0
    jobs: int = 0


@contextmanager
def _watched(client: redis.Redis) -> Iterator[_Most]:
    """Look at Redis ten times a second while inside."""
    most, over, before = _Most(), Event(), _used(client)

    def watch() -> None:
        while not over.wait(0.1):
            most.memory = max(most.memory, _used(client) - before)
            most.messages = max(most.messages, _queued(client))
            most.jobs = max(most.jobs, int(client.zcard(f"{_PREFIX}open:bulk")))

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def _used(client: redis.Redis) -> int:
    return int(client.info("memory")["used_memory"])


def _queued(client: redis.Redis) -> int:
    with client.pipeline(transaction=False) as pipe:
        for lane in lanes_of(STAGES):
            pipe.llen(f"{_PREFIX}{queue_name(lane)}")
        return sum(pipe.execute())


if __name__ == "__main__":
    sys.exit(main())
