"""The items of a batch that names a prefix: one for each object under it."""

from shared.batches.keys import items_key
from shared.batches.model import Item, ItemFault
from worker.batches.context import Desk

_LOOK_EVERY = 1000


def list_items(desk: Desk, batch_id: str, prefix: str) -> ItemFault | None:
    """Write down the objects under the prefix as items; gives why the batch cannot begin, if it cannot.

    It may be done again from the first: until the batch's state says that its items are known, nobody reads them.

    Raises:
        QueueUnavailable, StorageError: it is to be done again.
    """
    most, total = desk.settings.max_batch_items, 0
    with desk.store.writer(items_key(batch_id, 0), content_type="application/jsonl") as out:
        for info in desk.store.list(prefix):
            total += 1
            if total > most:
                return ItemFault(
                    code="too_many_items",
                    message=f"More than {most} objects lie under {prefix}; name prefixes of parts of it.",
                )
            item = Item(custom_id=info.key, input={"key": info.key})
            out.write(item.model_dump_json(exclude_defaults=True).encode() + b"\n")
            if total % _LOOK_EVERY == 0:
                desk.still()
        if not total:
            return ItemFault(code="no_items", message=f"No object lies under {prefix} any more.")
        out.commit()
    desk.batches.listed(batch_id, total)
    return None
