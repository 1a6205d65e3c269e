"""The catalog of a process, from its settings."""

from pathlib import Path

from shared.catalog.harmony import read_config
from shared.catalog.model import RESTORER, VOCODER, Catalog, ModelEntry
from shared.settings import Settings


def read_catalog(settings: Settings) -> Catalog:
    """Give the models that the file of VFQ_CONFIG names, or else the two of the settings.

    Raises:
        SettingsError: if the file cannot be read, or is wrong.
    """
    if settings.config is not None:
        return read_config(Path(settings.config), settings)
    return Catalog(tuple(_entry(name, kind, settings) for name, kind in _usual(settings)))


def _usual(settings: Settings) -> list[tuple[str, str]]:
    return [(RESTORER, settings.restorer), (VOCODER, settings.vocoder)]


def _entry(name: str, model_type: str, settings: Settings) -> ModelEntry:
    return ModelEntry(
        name=name,
        model_type=model_type,
        device=settings.device,
        precision=settings.precision,
        max_batch_size=settings.max_batch_size,
    )
