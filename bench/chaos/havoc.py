"""Does what the schedule says, and counts it."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable

from bench.chaos.processes import Crew
from bench.chaos.recovery import Held, RecoveryWatch
from bench.chaos.schedule import Act, Event
from tests.support.http_proxy import HttpFaultProxy
from tests.support.proxy import FaultProxy
from tests.support.redis import RedisServer

API = "api"
_TRY_SECONDS = 0.1


class Havoc:
    """
    Faults in real time, each kind in a thread of its own: they may meet.

    Attributes:
        done: how often each was done

    """

    def __init__(
        self,
        crew: Crew,
        server: RedisServer,
        redis_proxy: FaultProxy,
        storage_proxy: HttpFaultProxy,
        watch: RecoveryWatch,
        *,
        seed: int,
    ) -> None:
        self._crew = crew
        self._server = server
        self._redis_proxy = redis_proxy
        self._storage_proxy = storage_proxy
        self._watch = watch
        self._dice = random.Random(seed)
        self._acts: dict[Act, Callable[[Event], None]] = {
            "kill a worker": self._kill_worker,
            "kill the API": self._kill_api,
            "kill Redis": self._kill_redis,
            "storage refuses": self._storage_down,
            "storage is silent": self._storage_freezes,
        }
        self._errors: list[BaseException] = []
        self.done: Counter[Act] = Counter()

    def run(self, events: Iterable[Event]) -> None:
        """Do it all; returns when the last outage is over."""
        began = time.monotonic()
        lanes: dict[str, list[Event]] = {}
        for event in events:
            lanes.setdefault(event.act.partition(" ")[0] if "storage" in event.act else event.act, []).append(event)
        threads = [threading.Thread(target=self._follow, args=[lane, began], daemon=True) for lane in lanes.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _follow(self, events: list[Event], began: float) -> None:
        try:
            for event in events:
                time.sleep(max(0.0, began + event.at - time.monotonic()))
                self._acts[event.act](event)
                self.done[event.act] += 1
        except BaseException as error:  # a thread's error would pass unseen
            self._errors.append(error)

    def _kill_worker(self, _: Event) -> None:
        """Kill any that is not just starting; rather one of those that have most to do."""
        held: list[Held] = []

        def look(pid: int) -> None:
            held.extend(self._watch.held_by(pid))

        stages = self._crew.workers()
        names = sorted(stages, key=lambda name: self._dice.random() ** (1 / len(stages[name])), reverse=True)
        while not any(self._crew.kill(name, look) for name in names):
            time.sleep(_TRY_SECONDS)
        self._watch.died(held)

    def _kill_api(self, _: Event) -> None:
        while not self._crew.kill(API):
            time.sleep(_TRY_SECONDS)

    def _kill_redis(self, event: Event) -> None:
        """As `kill -9`; it comes back with its append-only file."""
        self._server.kill()
        self._redis_proxy.down()
        time.sleep(event.seconds)
        self._server.start()
        self._redis_proxy.up()

    def _storage_down(self, event: Event) -> None:
        self._storage_proxy.down()
        time.sleep(event.seconds)
        self._storage_proxy.up()

    def _storage_freezes(self, event: Event) -> None:
        self._storage_proxy.freeze()
        time.sleep(event.seconds)
        self._storage_proxy.up()
