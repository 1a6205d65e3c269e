"""Where a batch's objects lie in storage, and what its jobs are called."""

from hashlib import blake2b

#: Under which every batch has a folder.
BATCHES_PREFIX = "batches/"


def item_job_id(batch_id: str, item: int) -> str:
    """Give the id of the job of an item: 32 hexadecimal digits, the same each time it is made."""
    return blake2b(f"{batch_id}\0{item}".encode(), digest_size=16, person=b"batch item").hexdigest()


def batch_prefix(batch_id: str) -> str:
    """All that belongs to a batch."""
    return f"{BATCHES_PREFIX}{batch_id}/"


def batch_key(batch_id: str) -> str:
    """What was asked."""
    return f"{batch_prefix(batch_id)}batch.json"


def end_key(batch_id: str) -> str:
    """How it ended."""
    return f"{batch_prefix(batch_id)}end.json"


def closed_key(batch_id: str) -> str:
    """Says that an open batch was closed: no more items come."""
    return f"{batch_prefix(batch_id)}closed"


def cancel_key(batch_id: str) -> str:
    """Says that it is to stop."""
    return f"{batch_prefix(batch_id)}cancel"


def draft_key(batch_id: str) -> str:
    """A list of items as it came, until it was read."""
    return f"{batch_prefix(batch_id)}draft.jsonl"


def added_key(batch_id: str, nonce: str) -> str:
    """Items that are being added, until they are a segment."""
    return f"{batch_prefix(batch_id)}added/{nonce}.jsonl"


def items_prefix(batch_id: str) -> str:
    """Its items, in segments that are named by the number of their first."""
    return f"{batch_prefix(batch_id)}items/"


def items_key(batch_id: str, first: int) -> str:
    """A segment of its items."""
    return f"{items_prefix(batch_id)}{first:08d}.jsonl"


def outcomes_prefix(batch_id: str) -> str:
    """What became of items so far, in segments of the leaders that wrote them."""
    return f"{batch_prefix(batch_id)}outcomes/"


def outcomes_key(batch_id: str, writer: str, number: int) -> str:
    """A segment of outcomes; nobody but its writer touches it."""
    return f"{outcomes_prefix(batch_id)}{writer}.{number:06d}.jsonl"


def output_key(batch_id: str) -> str:
    """The manifest of what succeeded."""
    return f"{batch_prefix(batch_id)}output.jsonl"


def errors_key(batch_id: str) -> str:
    """The manifest of what did not."""
    return f"{batch_prefix(batch_id)}errors.jsonl"
