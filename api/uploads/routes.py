"""The routes under `/v1/uploads`."""

from typing import Any

from flask import Response, jsonify, request, url_for
from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field

from api import describe as common
from api.errors import UnsupportedMedia
from api.http.bodies import json_body, json_body_or_nothing
from api.jobs.options import validated
from api.services import Services, services
from api.taking import taking
from api.uploads import describe
from api.uploads.begin import begin, drop, existing
from api.uploads.links import Links
from api.uploads.receive import completed, receive, unknown
from api.uploads.schemas import (
    CompleteRequest,
    PartPage,
    PartView,
    ReceivedPart,
    UploadRequest,
    UploadUrls,
    view,
)
from api.uploads.ways import way_of
from shared.records import Upload
from shared.storage.interface import PartInfo

uploads = APIBlueprint("uploads", __name__, abp_tags=[describe.UPLOADS], abp_responses=common.ANY_ERROR)


class UploadPath(BaseModel):
    """The part of an address that names an upload."""

    upload_id: str = Field(description="Id of the upload, 32 hexadecimal digits.")


class PartPath(UploadPath):
    """The part of an address that names a part of an upload."""

    number: int = Field(description="Of the part, from 1.")


class PartsQuery(BaseModel):
    """Which parts to sign URLs for."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    first: int = Field(1, alias="from", ge=1, le=10_000, description="Number of the first part.")
    count: int = Field(100, ge=1, le=1000, description="Most parts on a page.")


class Signed(BaseModel):
    """What makes a signed URL."""

    expires: str = Field("", description="Seconds since 1970.")
    signature: str = ""


@uploads.post(
    "/v1/uploads",
    summary="Begin an upload",
    openapi_extensions={"requestBody": describe.BEGIN_BODY},
    responses=describe.BEGIN_RESPONSES,
)
def create() -> Response:
    """Announce a recording. Send it to `url`, or, if `part_size` is set, in parts; then complete the upload."""
    if request.mimetype != "application/json":
        raise UnsupportedMedia("Send application/json that announces what will be uploaded.")
    upload = begin(services(), validated(json_body(request.stream), model=UploadRequest))
    response = _show(services(), upload, {}, 201)
    response.headers["Location"] = url_for("uploads.read", upload_id=upload.id)
    return response


@uploads.get("/v1/uploads/<upload_id>", summary="Ask for an upload", responses=describe.READ_RESPONSES)
def read(path: UploadPath) -> Response:
    """Tell the state of an upload and which parts have arrived, with a fresh URL if it comes in one piece."""
    to = services()
    upload = existing(to, path.upload_id)
    received = way_of(to, upload).received(upload) if upload.status == "pending" else {}
    return _show(to, upload, received, 200)


@uploads.get("/v1/uploads/<upload_id>/parts", summary="Ask for the URLs of parts", responses=describe.PARTS_RESPONSES)
def parts(path: UploadPath, query: PartsQuery) -> Response:
    """Sign URLs for parts; they may be sent in any order, at once, and again. An upload in one piece has one part."""
    to = services()
    upload = existing(to, path.upload_id)
    if upload.status != "pending":
        raise completed()
    stop = min(query.first + query.count, upload.parts + 1)
    following = None
    if stop <= upload.parts:
        where: dict[str, Any] = {"upload_id": upload.id, "from": stop, "count": query.count}
        following = url_for("uploads.parts", **where)
    page = PartPage(parts=[_part(to, upload, number) for number in range(query.first, stop)], next=following)
    response = _json(page, 200)
    if following:
        response.headers["Link"] = f'<{following}>; rel="next"'
    return response


@uploads.post(
    "/v1/uploads/<upload_id>/complete",
    summary="Complete an upload",
    openapi_extensions={"requestBody": describe.COMPLETE_BODY},
    responses=describe.COMPLETE_RESPONSES,
)
def complete(path: UploadPath) -> Response:
    """See that what was announced has arrived; then jobs can name the upload. Done again, it answers the same."""
    to = services()
    upload = existing(to, path.upload_id)
    asked = validated(json_body_or_nothing(request.stream) or {}, model=CompleteRequest)
    if upload.status == "pending":
        with taking(upload.id):
            upload = existing(to, path.upload_id)  # as it is now that nobody else is at it
            if upload.status == "pending":
                tags = None if asked.parts is None else {part.number: part.etag for part in asked.parts}
                whole = way_of(to, upload).finish(upload, tags)
                done = to.uploads.complete(upload, key=whole.key, etag=whole.etag, seal=whole.seal)
                if done is None:
                    drop(to, upload)
                    raise unknown()
                upload = done
    return _show(to, upload, {}, 200)


@uploads.delete("/v1/uploads/<upload_id>", summary="Delete an upload", responses=describe.DELETE_RESPONSES)
def delete(path: UploadPath) -> Response:
    """Break an upload off, or forget one that is completed. Jobs that were made of it have copies of their own."""
    to = services()
    drop(to, existing(to, path.upload_id))
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


@uploads.put(
    "/v1/uploads/<upload_id>/content",
    summary="Send an upload in one piece",
    openapi_extensions={"requestBody": describe.BYTES_BODY, "security": []},
    responses=describe.PUT_RESPONSES,
)
def put_content(path: UploadPath, query: Signed) -> Response:
    """Take the bytes, by the URL that was signed for them; needs no key."""
    return _put(path.upload_id, 1, query, in_parts=False)


@uploads.put(
    "/v1/uploads/<upload_id>/parts/<number>",
    summary="Send a part of an upload",
    openapi_extensions={"requestBody": describe.BYTES_BODY, "security": []},
    responses=describe.PUT_RESPONSES,
)
def put_part(path: PartPath, query: Signed) -> Response:
    """Take the bytes of a part, by the URL that was signed for it; needs no key."""
    return _put(path.upload_id, path.number, query, in_parts=True)


def _put(upload_id: str, number: int, signed: Signed, *, in_parts: bool) -> Response:
    to = services()
    Links(to).check(upload_id, number, signed.expires, signed.signature)
    upload = to.uploads.get(upload_id)
    if upload is None or upload.direct or bool(upload.part_size) is not in_parts or not 1 <= number <= upload.parts:
        raise unknown()
    etag = receive(to, upload, number, request.stream, request.content_length)
    response = Response(status=200)
    del response.headers["Content-Type"]
    response.set_etag(etag)
    response.headers["Cache-Control"] = "no-store"
    return response


def _part(to: Services, upload: Upload, number: int) -> PartView:
    size = upload.part_length(number)
    headers = {"Content-Length": str(size)}
    if upload.content_type and not upload.part_size:
        headers["Content-Type"] = upload.content_type
    return PartView(number=number, bytes=size, url=way_of(to, upload).url(upload, number), headers=headers)


def _show(to: Services, upload: Upload, received: dict[int, PartInfo], status: int) -> Response:
    place: dict[str, Any] = {"upload_id": upload.id}
    urls = UploadUrls(
        this=url_for("uploads.read", **place),
        parts=url_for("uploads.parts", **place),
        complete=url_for("uploads.complete", **place),
    )
    put = _part(to, upload, 1) if upload.status == "pending" and not upload.part_size else None
    arrived = [ReceivedPart(number=number, bytes=part.size, etag=part.etag) for number, part in received.items()]
    return _json(view(upload, put=put, received=arrived, urls=urls), status)


def _json(document: BaseModel, status: int) -> Response:
    response = jsonify(document.model_dump(mode="json", by_alias=True))
    response.status_code = status
    response.headers["Cache-Control"] = "no-store"
    return response
