"""What keeps a model from being loaded, as one error that names it and says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.catalog import ModelEntry
from worker.engine.memory import NoRoom, let_go, ran_out_of_memory
from worker.models.errors import DeviceUnavailableError, ModelError, ModelNotLoaded, PrecisionUnavailableError

_ADVICE: dict[type[ModelError], str] = {
    DeviceUnavailableError: "With --device cpu (VFQ_DEVICE=cpu) the models run on the CPU; auto takes what is here.",
    PrecisionUnavailableError: "In a config.yml the precision is the entry's dtype.",
}


@contextmanager
def naming(entry: ModelEntry) -> Iterator[None]:
    """Turn what is wrong with a model into an error of its own.

    Raises:
        ModelNotLoaded: for any `ModelError`, and where memory runs out.
    """
    try:
        yield
    except ModelNotLoaded:
        raise
    except ModelError as error:
        raise ModelNotLoaded(entry.name, error, advice=_ADVICE.get(type(error), "")) from None
    except Exception as error:
        if not ran_out_of_memory(error):
            raise
        let_go(error)
        raise ModelNotLoaded(entry.name, NoRoom()) from None
