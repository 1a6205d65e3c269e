"""A client that knows the OpenAPI document and nothing else: every answer it gets is one that the document tells of."""

from __future__ import annotations

import socket
from collections import Counter, defaultdict

import pytest
import schemathesis
from schemathesis.checks import not_a_server_error

import bench.schema.hooks  # noqa: F401  its check, and how a list of items is sent
from api.app import create_app
from api.watching import stream
from shared.settings import Settings
from tests.api.schema_world import LIMITS, World

EXAMPLES = 5


class _Switch:
    """The application of the test that runs; before, one that can only tell its document."""

    def __init__(self) -> None:
        self.app = create_app(Settings(storage_url="file:///nowhere", **LIMITS))

    def __call__(self, environ, start_response):
        return self.app(environ, start_response)


def _schema(*, examples: int, phases: tuple[str, ...]):
    asked = {
        "generation": {"max-examples": examples, "deterministic": True, "database": "none"},
        "phases": {name: {"enabled": name in phases} for name in ("examples", "coverage", "fuzzing", "stateful")},
    }
    config = schemathesis.Config.from_dict(asked)
    return schemathesis.openapi.from_wsgi("/openapi.json", SWITCH, config=config)


SWITCH = _Switch()
WHOLE = _schema(examples=EXAMPLES, phases=("examples", "coverage", "fuzzing"))
SHORT = _schema(examples=2, phases=("fuzzing",))
#: Routes of which no request succeeds here, and why.
UNMET = {
    "POST /v1/audio/convert": "no worker is there to convert anything",
    "POST /v1/webhooks/test": "nobody is called",
    "PUT /v1/uploads/{upload_id}/parts/{number}": "a part has megabytes",
}
met: defaultdict[str, Counter[int]] = defaultdict(Counter)


@pytest.fixture(scope="module")
def world(redis_url, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "_LONGEST_SECONDS", 0.02)  # of what goes on nothing more is heard
        patch.setattr(socket, "getaddrinfo", _only_numbers(socket.getaddrinfo))
        made = World(redis_url, tmp_path_factory.mktemp("schema"))
        SWITCH.app = made.api.client.application
        yield made


def _only_numbers(real):
    """Names of hosts that a client makes up are none, whatever network there is."""

    def look_up(host, *args, **more):
        if not str(host).replace(".", "").isdigit():
            raise socket.gaierror("there is no such name")
        return real(host, *args, **more)

    return look_up


def ask(case: schemathesis.Case, world: World, caller: str) -> None:
    world.lead(case)
    response = case.call(headers=world.keys[caller])
    if case.method == case.operation.method.upper():  # otherwise it was tried whether there is another
        met[case.operation.label][response.status_code] += 1
    assert response.status_code != 500, response.text
    # Others of 5xx are answers, if the document names them: another check sees to that.
    case.validate_response(response, headers=world.keys[caller], excluded_checks=[not_a_server_error])


@WHOLE.parametrize()
def test_every_answer_is_one_that_the_document_tells_of(case, world):
    world.ready_for(case.operation.label)
    ask(case, world, "plain")


@SHORT.parametrize()
def test_an_admin_is_answered_so_too(case, world):
    ask(case, world, "admin")


@SHORT.parametrize()
def test_and_so_is_who_has_no_key(case, world):
    ask(case, world, "none")


def test_no_route_was_met_with_refusals_alone():
    routes = {operation.ok().label for operation in WHOLE.get_all_operations()}
    if not routes <= met.keys():
        pytest.skip("not every route was asked")
    assert {route for route in routes if not any(200 <= status < 400 for status in met[route])} == UNMET.keys()
