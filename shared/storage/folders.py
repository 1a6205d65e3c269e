"""Objects by the folder in which they lie: of one job, one batch, one upload."""

from collections.abc import Iterator
from itertools import groupby
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from shared.errors import ObjectMissing
from shared.storage.interface import ObjectInfo, ObjectStore

_Model = TypeVar("_Model", bound=BaseModel)


def folders(store: ObjectStore, prefix: str) -> Iterator[tuple[str, Iterator[ObjectInfo]]]:
    """Give the name of each folder right under *prefix*, and its objects; those are to be read before the next folder.

    Raises:
        StorageError: if storage cannot be used.
    """
    yield from groupby(store.list(prefix), key=lambda info: info.key.removeprefix(prefix).partition("/")[0])


def read_model(store: ObjectStore, key: str, model: type[_Model]) -> _Model | None:
    """Read an object that holds a model as JSON; None if it is not there, or holds something else.

    Raises:
        StorageError: if storage cannot be used.
    """
    try:
        return model.model_validate_json(store.read(key))
    except (ObjectMissing, ValidationError):
        return None
