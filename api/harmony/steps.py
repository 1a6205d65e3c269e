"""What a convert request means: the jobs that are to be done one after another."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from api.harmony.errors import ConvertInvalid, ModelNotFound
from api.harmony.schemas import ConvertRequest, OutputOptions
from shared.catalog import CHAIN, Catalog
from shared.formats import FORMATS, WORKING_RATE, check_output
from shared.jobs import JobOptions, OutputRequest, Stage

#: Models that one request may name.
MOST_STEPS = 8
_BOTH: tuple[Stage, ...] = ("restore", "vocode")


@dataclass(frozen=True)
class Step:
    """
    One job.

    Attributes:
        model: as it was asked for
        options: of the job

    """

    model: str
    options: JobOptions

    @property
    def takes(self) -> str:
        """`audio` or `mel`."""
        return "audio" if "restore" in self.options.stages else "mel"

    @property
    def gives(self) -> str:
        """`audio` or `mel`."""
        return "audio" if "vocode" in self.options.stages else "mel"


def read_steps(asked: ConvertRequest, catalog: Catalog) -> list[Step]:
    """Give the jobs of a request in the order in which they run: filters first, those of a filter before it.

    Raises:
        ModelNotFound: if a model is not here.
        ConvertInvalid: if a step cannot be, or cannot take what the one before it gives.
    """
    steps = []
    for number, (one, last) in enumerate(_in_order(asked, last=True)):
        if number == MOST_STEPS:
            raise ConvertInvalid(f"pre_processing_filters: one request may name {MOST_STEPS} models at most.")
        steps.append(_step(one, catalog, last=last))
    for before, after in pairwise(steps):
        if before.gives != after.takes:
            hint = " (ask it for output_options.format wav)" if before.gives == "mel" else ""
            raise ConvertInvalid(
                f"pre_processing_filters: {before.model} gives {_words(before.gives)}{hint}, "
                f"and {after.model}, which comes after it, takes {_words(after.takes)}."
            )
    return steps


def _in_order(asked: ConvertRequest, *, last: bool) -> Iterator[tuple[ConvertRequest, bool]]:
    for one in asked.pre_processing_filters or ():
        yield from _in_order(one, last=False)
    yield asked, last


def _step(asked: ConvertRequest, catalog: Catalog, *, last: bool) -> Step:
    wanted = asked.output_options or OutputOptions()
    named = asked.output_options is not None and "format" in wanted.model_fields_set
    form = ("wav" if wanted.format is None else wanted.format.lower()) if named else None
    restorer, vocoder = _models(asked.model, catalog)
    if restorer and not vocoder and form in (None, "npy"):
        return Step(asked.model, _for_mel(wanted, restorer))
    if restorer and not vocoder and not catalog.serves(_BOTH):
        raise ConvertInvalid(f"{asked.model} gives a mel, and this service has no vocoder to make {form} of it.")
    stages: tuple[Stage, ...] = _BOTH if restorer else ("vocode",)
    output = _output("wav" if form is None else form, wanted.sample_rate, exact=not last and form is None)
    return Step(asked.model, JobOptions(stages=stages, restorer=restorer, vocoder=vocoder, output=output))


def _models(name: str, catalog: Catalog) -> tuple[str | None, str | None]:
    """Give restorer and vocoder that a name stands for; of the chain, those that are taken by default."""
    entry = catalog.named(name)
    if name == CHAIN and catalog.serves(_BOTH):
        return catalog.default("restore").name, catalog.default("vocode").name
    if entry is None:
        names = ", ".join(([CHAIN] if catalog.serves(_BOTH) else []) + [one.name for one in catalog.entries])
        raise ModelNotFound(f"The model `{name[:80]}` does not exist. There are: {names}.")
    return (name, None) if entry.stage == "restore" else (None, name)


def _for_mel(wanted: OutputOptions, restorer: str) -> JobOptions:
    if wanted.sample_rate is not None:
        raise ConvertInvalid(
            "output_options.sample_rate: a restorer alone answers a mel, which has none; "
            "ask for output_options.format wav to get audio."
        )
    return JobOptions(stages=("restore",), restorer=restorer, output=OutputRequest(format="npy"))


def _output(form: str, rate: int | None, *, exact: bool) -> OutputRequest:
    """Give the output: PCM_16 as Harmony has it; between two steps, where nothing was asked for, without rounding."""
    if form not in FORMATS:
        known = ", ".join(FORMATS)
        raise ConvertInvalid(f"output_options.format: there is no format {form[:40]!r} for audio; there are {known}.")
    depths = FORMATS[form].bit_depths
    depth = (32 if exact else 16) if depths else None
    rate = WORKING_RATE if rate is None else rate
    if problems := check_output(form, rate, depth):
        raise ConvertInvalid(" ".join(f"output_options.{one.field}: {one.message}" for one in problems))
    return OutputRequest.model_validate({"format": form, "sample_rate": rate, "bit_depth": depth})


def _words(kind: str) -> str:
    return "a mel" if kind == "mel" else "audio"
