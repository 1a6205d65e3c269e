"""Things in every state, so that a client that knows only the document finds more than what is not there."""

import io
import json
import time
from typing import Any

import httpx

from bench.overhead import wav_of

_SECONDS = 60.0
_OVER = ("succeeded", "failed", "canceled", "expired", "completed")

#: Parameters of addresses, and what they may name.
World = dict[str, list[str]]


def made_world(client: httpx.Client) -> World:
    """Make jobs, batches, uploads, endpoints and deliveries through the API; gives their ids.

    Raises:
        SystemExit: if the service does not take them.
    """
    endpoint = _json(client.post("/v1/webhooks", json={"url": f"{client.base_url}/healthz"}), 201)
    jobs = [
        _job(client, wav_of(0.5)),
        _job(client, b"no recording"),
        _job(client, wav_of(0.5), deadline_seconds="0.001"),
    ]
    stopped = _job(client, wav_of(20.0))
    client.post(f"/v1/jobs/{stopped}/cancel")
    batches = [_batch(client, open=True), _batch(client, open=True), _done_batch(client)]
    client.post(f"/v1/batches/{batches[1]}/cancel")
    uploads = [_upload(client, b"RIFF", send=send) for send in (False, True)]
    for job in jobs:
        _wait(client, f"/v1/jobs/{job}")
    _wait(client, f"/v1/batches/{batches[2]}")
    told = _json(client.get(f"/v1/jobs/{jobs[1]}/deliveries"), 200)["deliveries"]
    return {
        "job_id": [*jobs, stopped],
        "batch_id": batches,
        "upload_id": uploads,
        "webhook_id": [endpoint["id"]],
        "delivery_id": [one["id"] for one in told],
    }


def _job(client: httpx.Client, recording: bytes, **fields: str) -> str:
    answer = client.post("/v1/jobs", data=fields, files={"file": ("a.wav", io.BytesIO(recording))})
    return str(_json(answer, 202)["id"])


def _batch(client: httpx.Client, **asked: Any) -> str:
    return str(_json(client.post("/v1/batches", json=asked), 202)["id"])


def _done_batch(client: httpx.Client) -> str:
    """One whose items come to nothing, for what they name is not there."""
    items = [{"custom_id": str(number), "input": {"key": f"incoming/{number}.wav"}} for number in range(30)]
    lines = "\n".join(map(json.dumps, items)).encode()
    answer = client.post("/v1/batches", content=lines, headers={"Content-Type": "application/jsonl"})
    return str(_json(answer, 202)["id"])


def _upload(client: httpx.Client, data: bytes, *, send: bool) -> str:
    upload = _json(client.post("/v1/uploads", json={"filename": "a.wav", "bytes": len(data)}), 201)
    if send:
        httpx.put(upload["url"], content=data).raise_for_status()
        _json(client.post(upload["urls"]["complete"]), 200)
    return str(upload["id"])


def _wait(client: httpx.Client, address: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while (status := _json(client.get(address), 200)["status"]) not in _OVER:
        if time.monotonic() > deadline:
            raise SystemExit(f"{address} is still {status}")
        time.sleep(0.1)


def _json(answer: httpx.Response, wanted: int) -> dict[str, Any]:
    if answer.status_code != wanted:
        raise SystemExit(f"{answer.request.method} {answer.request.url}: HTTP {answer.status_code} {answer.text[:500]}")
    found: dict[str, Any] = answer.json()
    return found
