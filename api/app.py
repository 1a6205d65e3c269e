"""The Flask application: its parts put together."""

from flask import Response
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from pydantic import ValidationError

from api import describe
from api.auth import door
from api.batches import describe as describe_batches
from api.batches.routes import batches
from api.document import serve
from api.errors import FieldError, Unprocessable, pointer
from api.harmony import describe as describe_harmony
from api.harmony import envelope
from api.harmony.routes import harmony
from api.health import health
from api.http import access, problems
from api.jobs.options import say
from api.jobs.receipts import receipts
from api.jobs.results import results
from api.jobs.routes import jobs
from api.monitoring import routes as metrics
from api.services import connected
from api.uploads.describe import components as of_uploads
from api.uploads.routes import uploads
from api.watching.routes import watching
from api.webhooks import address
from api.webhooks import describe as webhooks_described
from api.webhooks.routes import webhooks
from shared.outgoing import Outgoing
from shared.presence import Presence
from shared.queues import Dispatcher
from shared.records import JobRecords
from shared.settings import Settings
from shared.storage import ObjectStore
from shared.version import running_version

DESCRIPTION = (
    "Speech restoration with VoiceFixer: submit a recording, poll its job, fetch the result. "
    "Every error is a problem document (RFC 9457) with a stable `code`."
)


def create_app(
    settings: Settings,
    *,
    records: JobRecords | None = None,
    store: ObjectStore | None = None,
    dispatcher: Dispatcher | None = None,
    presence: Presence | None = None,
    outgoing: Outgoing | None = None,
) -> OpenAPI:
    """Make the application; what is not given is opened as the settings say. Nothing is connected yet.

    Raises:
        SettingsError: if a setting is wrong.
    """
    app = OpenAPI(
        __name__,
        info=Info(title="voicefixer-queue", version=running_version(), description=DESCRIPTION),
        doc_ui=False,
        validation_error_status="default",  # so that the document gets no answers that we do not give
        validation_error_model=problems.Problem,
        validation_error_callback=_refuse_query,
        static_folder=None,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.json.compact = True  # type: ignore[attr-defined]
    to = connected(settings, records=records, store=store, dispatcher=dispatcher, presence=presence, outgoing=outgoing)
    to.install(app)
    metrics.install(app, to)
    access.install(app)
    door.install(app)
    problems.install(app, elsewhere={envelope.PREFIX: envelope.respond})
    address.install(app)
    for blueprint in (
        jobs,
        results,
        receipts,
        batches,
        uploads,
        watching,
        webhooks,
        harmony,
        health,
        metrics.monitoring,
    ):
        app.register_api(blueprint)
    _document(app)
    return app


def _refuse_query(error: ValidationError) -> Response:
    raise Unprocessable.of(*(FieldError(pointer(detail["loc"]), say(detail)) for detail in error.errors()))


def _document(app: OpenAPI) -> None:
    """Describe what the routes cannot tell of themselves, and serve the document."""
    models = (*webhooks_described.MODELS, *describe_batches.MODELS, *describe_harmony.MODELS)
    app.components_schemas.update(describe.components(*models) | of_uploads())
    result = app.paths["/v1/jobs/{job_id}/result"]
    result.head = result.get.model_copy(update={"operationId": "results_fetch_head", "summary": "Describe the result"})
    serve.install(app)
