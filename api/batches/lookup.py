"""The batch that an address names."""

import re

from pydantic import BaseModel, Field

from api.batches.errors import BatchNotFound
from api.caller import caller
from api.services import services
from shared.batches.model import BatchRecord

_ID = re.compile(r"[0-9a-f]{32}")


class BatchPath(BaseModel):
    """The part of an address that names a batch."""

    batch_id: str = Field(description="Id of the batch, 32 hexadecimal digits.")


def existing(batch_id: str) -> BatchRecord:
    """Read a batch that the caller may see.

    Raises:
        BatchNotFound: if there is none.
    """
    record = services().batches.get(batch_id) if _ID.fullmatch(batch_id) else None
    if record is None or not caller().sees(record.manifest.owner):
        raise BatchNotFound("There is no batch of this id; it may have been deleted.")
    return record
