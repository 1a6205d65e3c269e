"""How soon is a poll answered while the workers keep every core busy?

``python -m bench.polls`` lets the product's workers restore long recordings, asks for the states of jobs 500 times a
second meanwhile, and prints how long the answers take, counted from when each question was due. It exits 1 where the
99th percentile is above 50 ms.
"""

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.overhead import wav_of
from bench.service import PRODUCT_WORKER, Service, form_of, service
from bench.weights import ensure_weights

MOST_P99_MS = 50.0
_CONNECTIONS = 8
_BUSY_SECONDS = 1200.0
_JOBS = 40


@dataclass(frozen=True)
class Polled:
    """Answers a second, and milliseconds from when a question was due to its answer."""

    rate: float
    p50: float
    p90: float
    p99: float
    worst: float


def main(arguments: list[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.polls", description=__doc__)
    parser.add_argument("--rate", type=float, default=500.0, help="polls a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="for so long")
    parser.add_argument("--weights", type=Path, help="folder with the weights; by default random ones")
    asked = parser.parse_args(arguments)
    weights = asked.weights or ensure_weights(Path("build/random-weights-seed0"))
    environment = {"VFQ_WEIGHTS_DIR": str(weights.resolve()), "VFQ_WEIGHTS_UNVERIFIED": "true"}
    with (
        tempfile.TemporaryDirectory(prefix="vfq-polls-") as folder,
        service(Path(folder), workers=[PRODUCT_WORKER], environment=environment) as running,
    ):
        jobs = _fill(running)
        idle_or_busy = running.cpu_seconds()
        polled = poll(running.port, jobs, asked.rate, asked.seconds)
        spent = {name: used - idle_or_busy[name] for name, used in running.cpu_seconds().items()}
        with running.door() as door:
            for job_id in jobs:
                door.cancel(job_id)
    cores = {name: round(used / asked.seconds, 2) for name, used in spent.items()}
    good = polled.p99 <= MOST_P99_MS
    print(f"{polled.rate:.0f} polls/s: p50 {polled.p50:.1f} ms, p90 {polled.p90:.1f}, p99 {polled.p99:.1f}, ", end="")
    print(f"worst {polled.worst:.1f} (p99 at most {MOST_P99_MS:g})")
    print("cores used: " + ", ".join(f"{name} {used:g}" for name, used in cores.items()))
    summary = {"rate": polled.rate, "ms": vars(polled), "cores": cores, "most_p99_ms": MOST_P99_MS}
    print(json.dumps({"bench": "polls", **summary, "passed": good}))
    return 0 if good else 1


def _fill(running: Service) -> list[str]:
    """Give the workers more to do than they can do meanwhile."""
    form = form_of(wav_of(_BUSY_SECONDS / _JOBS))
    with running.door() as door:
        jobs = [str(door.submit(form)["id"]) for _ in range(_JOBS)]
        while not any(door.job(job_id)["progress"]["stage"] == "vocode" for job_id in jobs[:3]):
            time.sleep(0.2)
    return jobs


def poll(port: int, jobs: list[str], rate: float, seconds: float) -> Polled:
    """Ask for jobs in turn, so often, over several connections; a late answer makes the next question late too."""
    waits: list[list[float]] = [[] for _ in range(_CONNECTIONS)]
    begin = time.perf_counter() + 0.5
    due = [begin + number / rate for number in range(int(rate * seconds))]

    def ask(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for position in range(number, len(due), _CONNECTIONS):
            time.sleep(max(0.0, due[position] - time.perf_counter()))
            connection.request("GET", f"/v1/jobs/{jobs[position % len(jobs)]}")
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise SystemExit(f"a poll: HTTP {answer.status}")
            waits[number].append(time.perf_counter() - due[position])
        connection.close()

    threads = [threading.Thread(target=ask, args=[number]) for number in range(_CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begin
    all_waits = np.concatenate([np.array(one) for one in waits]) * 1000
    p50, p90, p99 = (round(float(one), 2) for one in np.percentile(all_waits, [50, 90, 99]))
    return Polled(round(len(all_waits) / took, 1), p50, p90, p99, round(float(all_waits.max()), 2))


if __name__ == "__main__":
    sys.exit(main())
