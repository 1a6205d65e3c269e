"""The routes of Harmony Speech Engine's audio conversion."""

import time

from flask import Response, jsonify, request
from flask_openapi3.blueprint import APIBlueprint

from api.harmony import describe
from api.harmony.answer import answer
from api.harmony.convert import convert
from api.harmony.schemas import OWNER, ModelCard, ModelList
from api.services import services
from shared.catalog import CHAIN, Catalog

harmony = APIBlueprint("harmony", __name__, abp_tags=[describe.HARMONY], abp_responses=describe.ANY_ERROR)
_BEGAN = int(time.time())


@harmony.post(
    "/v1/audio/convert",
    summary="Restore a recording and wait for it",
    openapi_extensions={"requestBody": describe.CONVERT_BODY},
    responses=describe.CONVERT_RESPONSES,
)
def convert_audio() -> Response:
    """Restore base64 of an audio file in one request: a job like all others, that is waited for.

    A caller that hangs up cancels it. What takes longer than the service waits is answered with 504, and goes on.
    """
    to = services()
    return answer(to, convert(to, request))


@harmony.get("/v1/audio/convert/models", summary="List the models", responses=describe.MODELS_RESPONSES)
def list_models() -> Response:
    """List what `model` may be."""
    return jsonify(ModelList(data=_cards(services().catalog)).model_dump())


def _cards(catalog: Catalog) -> list[ModelCard]:
    chain = [_card(CHAIN, "toolchain")] if catalog.serves(("restore", "vocode")) else []
    return chain + [_card(entry.name, "model") for entry in catalog.entries]


def _card(name: str, kind: str) -> ModelCard:
    return ModelCard.model_validate(
        {
            "id": name,
            "object": kind,
            "created": _BEGAN,
            "owned_by": OWNER,
            "languages": [],
            "root": name,
            "parent": None,
        }
    )
