"""What `restore` asks of a job, checked before anything is sent or started."""

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from cli.errors import UsageProblem
from shared.formats import check_output
from shared.jobs import JobOptions


def check(options: Mapping[str, object]) -> None:
    """See that options, by their names in the API's form, can be; None is left out. A server may still refuse them.

    Raises:
        UsageProblem: says what cannot be.
    """
    try:
        output = JobOptions.model_validate(_nested(options)).output
    except ValidationError as error:
        raise UsageProblem(_sentence(error)) from None
    form = None if output.format == "npy" else output.format
    if problems := check_output(form, output.sample_rate, output.bit_depth, output.channels):
        raise UsageProblem(" ".join(problem.message for problem in problems))


def _nested(options: Mapping[str, object]) -> dict[str, Any]:
    nested: dict[str, Any] = {"output": {}}
    for name, value in options.items():
        if value is None:
            continue
        if name.startswith("output."):
            nested["output"][name.removeprefix("output.")] = _as_in_a_form(value)
        else:
            nested[name] = _metadata(str(value)) if name == "metadata" else value
    return nested


def _as_in_a_form(value: object) -> object:
    """Read a number as the API reads that of a form, which is text, too."""
    return int(value) if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,30}", value.strip()) else value


def _metadata(text: str) -> object:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UsageProblem("--metadata: must be a JSON object")
    return value


def _sentence(error: ValidationError) -> str:
    faults: dict[str, list[str]] = {}
    for detail in error.errors(include_url=False):
        path = [str(part) for part in detail["loc"] if part != "output"]
        option = f"--{path[0].removesuffix('_seconds').replace('_', '-')}: " if path else ""
        text = detail["msg"].removeprefix("Value error, ")
        faults.setdefault(option, []).append(text[0].lower() + text[1:])
    return "; ".join(option + ", or ".join(dict.fromkeys(texts)) for option, texts in faults.items())
