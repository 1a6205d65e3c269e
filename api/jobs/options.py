"""A job's options, checked: every fault is told with its place."""

import json
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from api.document.exclusive import one_text
from api.errors import FieldError, Unprocessable, pointer
from api.webhooks.guard import refuse_bad_url
from shared.catalog import Catalog
from shared.formats import WORKING_RATE, check_output
from shared.jobs import JobOptions
from shared.outgoing import LONGEST_URL
from shared.settings import Settings

Asked = TypeVar("Asked", bound=JobOptions)
Document = TypeVar("Document", bound=BaseModel)


class InputReference(BaseModel):
    """Where a recording is that does not come with the request: one of these."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=one_text("key", "url", "upload"))

    key: str | None = Field(
        None, description="An object in storage: its key, under one of the prefixes that the service allows."
    )
    url: str | None = Field(
        None,
        repr=False,
        max_length=LONGEST_URL,
        description="An http or https address out in the world, from which a worker fetches the recording. "
        "Its query may be a secret, as in a presigned URL: it is never shown.",
    )
    upload: str | None = Field(None, description="Id of an upload that is completed.")

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        names = list(type(self).model_fields)
        if sum(getattr(self, name) is not None for name in names) != 1:
            raise ValueError(f"must name one of {' or '.join(names)}")
        return self


class JobRequest(JobOptions):
    """A job for a recording that does not come with the request: where it is, and the options."""

    input: InputReference

    def options(self) -> JobOptions:
        """All but the input."""
        return JobOptions.model_validate({name: getattr(self, name) for name in JobOptions.model_fields})


def read_options(raw: object, settings: Settings, catalog: Catalog, *, model: type[Asked]) -> Asked:
    """Check what was asked, down to the names of models, what the output's format can hold, and where webhooks lead.

    Raises:
        Unprocessable: with every field at fault.
    """
    asked = possible_options(raw, settings, catalog, model=model)
    refuse_bad_url(asked.webhook, settings, "#/webhook")
    return asked


def possible_options(raw: object, settings: Settings, catalog: Catalog, *, model: type[Asked]) -> Asked:
    """Do as `read_options` without asking anyone where a URL leads.

    Raises:
        Unprocessable: with every field at fault.
    """
    asked = validated(raw, model=model)
    faults = [
        *_metadata_faults(asked, settings),
        *_samples_faults(asked, settings),
        *_model_faults(asked, catalog),
        *_output_faults(asked),
    ]
    if faults:
        raise Unprocessable.of(*faults)
    return asked


def validated(raw: object, *, model: type[Document]) -> Document:
    """Check an object of a request against its model.

    Raises:
        Unprocessable: with every field at fault.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        faults: dict[str, list[str]] = {}
        for detail in error.errors(include_url=False, include_context=False):
            faults.setdefault(pointer(_place(raw, detail)), []).append(say(detail))
    raise Unprocessable.of(*(FieldError(place, "; or ".join(texts)) for place, texts in faults.items()))


def _place(raw: Any, detail: ErrorDetails) -> list[str | int]:
    """Keep of pydantic's location what stands in the request: it also names the branches of unions."""
    place: list[str | int] = []
    for part in detail["loc"]:
        if _holds(raw, part):
            raw = raw[part]
        elif detail["type"] != "missing":
            break
        place.append(part)
    return place


def _holds(raw: object, part: str | int) -> bool:
    return (isinstance(raw, dict) and part in raw) or (isinstance(raw, list) and isinstance(part, int))


def say(detail: ErrorDetails) -> str:
    """Tell what is wrong with a field."""
    known = {
        "extra_forbidden": "there is no field of this name",
        "missing": "is required",
        "model_type": "must be an object",
        "dict_type": "must be an object",
        "tuple_type": "must be a list, or names with commas between them",
    }
    text = detail["msg"].removeprefix("Value error, ")
    return known.get(detail["type"], text[0].lower() + text[1:])


def _metadata_faults(options: JobOptions, settings: Settings) -> list[FieldError]:
    size = len(json.dumps(options.metadata, ensure_ascii=False, separators=(",", ":")).encode())
    most = settings.max_metadata_bytes
    if not options.metadata or size <= most:
        return []
    return [FieldError("#/metadata", f"has {size} bytes as JSON; {most} are allowed")]


def _samples_faults(options: JobOptions, settings: Settings) -> list[FieldError]:
    most = int(settings.max_duration_seconds * WORKING_RATE)
    if options.samples is None or options.samples <= most:
        return []
    return [FieldError("#/samples", f"is beyond the longest recording of this service, {most} samples")]


def _model_faults(options: JobOptions, catalog: Catalog) -> list[FieldError]:
    faults = []
    for stage, field in (("restore", "restorer"), ("vocode", "vocoder")):
        name = getattr(options, field)
        if stage not in options.stages:
            continue
        if not catalog.of(stage):
            faults.append(FieldError("#/stages", f"this service has no model for {stage}"))
        elif name is not None and name not in (names := [entry.name for entry in catalog.of(stage)]):
            faults.append(FieldError(f"#/{field}", f"there is no such model; there are {', '.join(names)}"))
    return faults


def _output_faults(options: JobOptions) -> list[FieldError]:
    asked = options.output
    audio = None if asked.format == "npy" else asked.format
    problems = check_output(audio, asked.sample_rate, asked.bit_depth, asked.channels)
    return [FieldError(f"#/output/{problem.field}", problem.message) for problem in problems]
