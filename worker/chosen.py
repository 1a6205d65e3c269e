"""Which models a job takes: chosen when it is split, and the same for all of its pieces."""

from dataclasses import dataclass

from shared.catalog import Catalog, ModelEntry, ModelUnknown
from shared.jobs import JobOptions, Stage
from worker.models.errors import ModelNotServed
from worker.plan import Plan


@dataclass(frozen=True)
class Chosen:
    """The models of a job; none for a stage that it has not."""

    restorer: ModelEntry | None
    vocoder: ModelEntry | None


def choose(catalog: Catalog, options: JobOptions, before: Plan | None) -> Chosen:
    """Find the models that were asked for, or the defaults; of a job that is split again those of *before*.

    Raises:
        ModelNotServed: if there is no such model here.
    """
    asked = options if before is None else before
    return Chosen(
        find(catalog, "restore", asked.restorer) if "restore" in options.stages else None,
        find(catalog, "vocode", asked.vocoder) if "vocode" in options.stages else None,
    )


def name_of(entry: ModelEntry | None) -> str | None:
    """Name a model as a plan does."""
    return None if entry is None else entry.name


def find(catalog: Catalog, stage: Stage, name: str | None) -> ModelEntry:
    """Find the model of a stage by its name, or the default.

    Raises:
        ModelNotServed: if there is none.
    """
    try:
        return catalog.find(stage, name)
    except ModelUnknown:
        raise ModelNotServed(stage, name) from None
