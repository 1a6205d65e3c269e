"""What schemathesis is told of this API beside its document; it loads this module by name."""

import json
from typing import Any

import schemathesis
from schemathesis.generation.meta import CoveragePhaseData, CoverageScenario


@schemathesis.check
def only_named_answers(
    context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """See that the document names an answer's status: `default` is for what is no answer of the route."""
    del context
    probed = case.meta.phase.data if case.meta else None
    if isinstance(probed, CoveragePhaseData) and probed.scenario is CoverageScenario.UNSPECIFIED_HTTP_METHOD:
        return
    named = case.operation.responses.status_codes
    if str(response.status_code) not in named:
        raise AssertionError(f"{response.status_code} is none of {', '.join(named)}")


@schemathesis.serializer("application/jsonl")
def as_lines(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Send an item as a list of one."""
    del context
    return value if isinstance(value, bytes) else json.dumps(value).encode() + b"\n"
