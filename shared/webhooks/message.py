"""What is sent: a thin body, the same at each attempt, and the three headers of Standard Webhooks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.webhooks.secrets import Secrets


@dataclass(frozen=True)
class Message:
    """
    A signed message.

    Attributes:
        headers: of the request
        body: JSON in UTF-8

    """

    headers: Mapping[str, str]
    body: bytes


def signed(message_id: str, body: str, secrets: Secrets, *, now: float) -> Message:
    """Sign a body for an attempt that is made now."""
    timestamp = int(now)
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": secrets.signature(message_id, timestamp, body),
        "content-type": "application/json",
    }
    return Message(headers, body.encode())


def job_data(job_id: str, status: str, sequence: int) -> dict[str, Any]:
    """Tell of a job: what it is called, how it is, where to ask for more."""
    urls = {"self": f"/v1/jobs/{job_id}"}
    if status == "succeeded":
        urls["result"] = f"/v1/jobs/{job_id}/result"
    return {"id": job_id, "status": status, "sequence": sequence, "urls": urls}


def batch_data(batch_id: str, status: str, sequence: int) -> dict[str, Any]:
    """Tell of a batch the same."""
    return {"id": batch_id, "status": status, "sequence": sequence, "urls": {"self": f"/v1/batches/{batch_id}"}}


def body_of(kind: str, moment: float, data: Mapping[str, Any]) -> str:
    """Write the body: type and time of the event, and what it tells."""
    timestamp = datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return json.dumps({"type": kind, "timestamp": timestamp, "data": data}, ensure_ascii=False, separators=(",", ":"))
