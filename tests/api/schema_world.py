"""An application with things in every state, and requests of the OpenAPI document led to them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from schemathesis import Case
from schemathesis.core.parameters import ParameterLocation

from shared.batches.keys import errors_key, output_key
from shared.connections import open_batches
from shared.storage import open_storage
from tests.api.conftest import folder_settings, make_api
from tests.api.test_keys import ELSEWHERE, key
from tests.api.test_receipts import succeed

#: So that no limit is met before the end.
LIMITS = {
    "auth": "keys",
    "submits_per_minute": 0,
    "reads_per_minute": 0,
    "max_open_per_key": 0,
    "max_open_batches": 0,
    "max_uploads_per_key": 10_000,
    "max_wait_seconds": 0.0,
    "convert_seconds": 0.05,
}
NAME = "tape-12"
STORED, LIST = "incoming/a.wav", "incoming/list.jsonl"
STAGES = ("audio", "restore", "vocode")


class World:
    """A service, one of whose keys has jobs, batches, uploads, an endpoint and deliveries."""

    def __init__(self, redis_url: str, folder: Path) -> None:
        settings = folder_settings(redis_url, folder, key_prefix="schema:", **LIMITS)
        self.api = make_api(settings, open_storage(settings.storage_url))
        self.keys = {"plain": key(self.api), "admin": key(self.api, scopes=("admin",)), "none": {}}
        self.api.client.environ_base["HTTP_AUTHORIZATION"] = self.keys["plain"]["Authorization"]
        self.api.presence.announce("worker", STAGES, ttl=600)
        self.api.store.put(STORED, b"RIFF")
        self.api.store.put(LIST, json.dumps({"custom_id": "a", "input": {"key": STORED}}).encode())
        self._route = ""
        self._put_url = ""
        self._things: dict[str, Iterator[str | None]] = {}
        self._chance = itertools.cycle((True, True, False))
        self._make()

    def ready_for(self, route: str) -> None:
        """Make all things anew where the route before may have changed them."""
        if route != self._route:
            if not self._route.startswith(("GET", "HEAD")):
                self._make()
            self._route = route

    def _make(self) -> None:
        jobs, delivery = self._jobs(), self._delivery()
        ids = {
            "job_id": jobs,
            "batch_id": self._batches(),
            "upload_id": self._uploads(),
            "webhook_id": [self._endpoint],
            "delivery_id": [delivery],
        }
        self._things = {name: itertools.cycle([*things, None]) for name, things in ids.items()}

    def lead(self, case: Case) -> None:
        """Let most requests that are not meant to be wrong there name what is there."""
        if not self._is_wrong(case, ParameterLocation.PATH):
            self._lead_path(case)
        if not self._is_wrong(case, ParameterLocation.BODY) and isinstance(case.body, dict):
            self._lead_body(case.operation.label, case.body)

    def _lead_path(self, case: Case) -> None:
        if case.operation.label == "PUT /v1/uploads/{upload_id}/content":
            if not self._is_wrong(case, ParameterLocation.QUERY):
                self._lead_signed(case)
            return
        for name in case.path_parameters:
            thing = next(self._things[name]) if name in self._things else None
            if thing is not None:
                case.path_parameters[name] = NAME if case.operation.label == "PUT /v1/jobs/{job_id}" else thing

    def _lead_signed(self, case: Case) -> None:
        url = urlsplit(self._put_url)
        case.path_parameters["upload_id"] = url.path.split("/")[3]
        case.query.update(parse_qsl(url.query))
        case.body = b"RIFF"

    def _lead_body(self, route: str, body: dict[str, Any]) -> None:
        if isinstance(body.get("input"), dict) and next(self._chance):
            body["input"] = {"key": LIST if route == "POST /v1/batches" else STORED}
        if isinstance(body.get("prefix"), str) and next(self._chance):
            body["prefix"] = "incoming/"
        if isinstance(body.get("url"), str) and route != "POST /v1/webhooks/test" and next(self._chance):
            body["url"] = ELSEWHERE

    @staticmethod
    def _is_wrong(case: Case, place: ParameterLocation) -> bool:
        return case.meta is not None and case.meta.is_negative_at(place)

    def _jobs(self) -> list[str]:
        api = self.api
        waiting, running, failed, canceled = (api.submit()["id"] for _ in range(4))
        api.begin(running)
        api.fail(failed)
        api.client.post(f"/v1/jobs/{canceled}/cancel")
        api.client.put(f"/v1/jobs/{NAME}", json={"input": {"key": STORED}})
        return [succeed(api), failed, waiting, running, canceled]

    def _delivery(self) -> str:
        found = self.api.client.get("/v1/webhooks").json["webhooks"]
        for one in found:
            self.api.client.delete(f"/v1/webhooks/{one['id']}")
        self._endpoint = self.api.client.post("/v1/webhooks", json={"url": ELSEWHERE}).json["id"]
        job = self.api.submit()["id"]
        self.api.fail(job)
        return str(self.api.client.get(f"/v1/jobs/{job}/deliveries").json["deliveries"][0]["id"])

    def _batches(self) -> list[str]:
        client, store = self.api.client, self.api.store
        items = {"items": [{"custom_id": str(number), "input": {"key": STORED}} for number in range(30)]}
        opened, running, over = (
            client.post("/v1/batches", json=asked).json["id"] for asked in ({"open": True}, items, items)
        )
        client.post(f"/v1/batches/{opened}/items", json=items)
        client.post(f"/v1/batches/{over}/cancel")
        for name in (output_key(over), errors_key(over)):
            store.put(name, b"")
        assert open_batches(self.api.settings).end(over)
        return [over, opened, running]

    def _uploads(self) -> list[str]:
        client = self.api.client
        small, done, parts = (
            client.post("/v1/uploads", json={"filename": "a.wav", "bytes": size}).json
            for size in (4, 4, 3 * self.api.settings.upload_part_bytes)
        )
        for upload in (small, done):
            assert client.put(upload["url"], data=b"RIFF").status_code == 200
        assert client.post(done["urls"]["complete"]).status_code == 200
        self._put_url = small["url"]
        return [small["id"], done["id"], parts["id"]]
