"""Which models the service has, by name: from the settings, or from a `config.yml` of Harmony Speech Engine."""

from shared.catalog.model import CHAIN, RESTORER, VOCODER, Catalog, ModelEntry, ModelUnknown
from shared.catalog.read import read_catalog

__all__ = ["CHAIN", "RESTORER", "VOCODER", "Catalog", "ModelEntry", "ModelUnknown", "read_catalog"]
