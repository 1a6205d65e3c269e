"""The command line, `voicefixer-queue`: each command reads its options and calls what does the work.

What a command needs is imported inside it, so that `--help` is quick and an API server never loads torch.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.group import Commands, Json, show_version
from cli.models import Models

app = typer.Typer(
    cls=Commands,
    help="Speech restoration that you run yourself: VoiceFixer behind an HTTP API and a queue.",
    epilog="Settings are read from VFQ_… in the environment; those of the command line win.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
weights_app = typer.Typer(help="VoiceFixer's weights: fetch, check, find.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")
keys_app = typer.Typer(help="API keys: who may use the service.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")


class ModelChoice(StrEnum):
    """Which models do the work."""

    voicefixer = "voicefixer"
    baseline = "baseline"


class OnError(StrEnum):
    """What an archive does when a file fails."""

    go_on = "continue"
    stop = "stop"


Server = Annotated[
    str | None, typer.Option("--server", envvar="VFQ_SERVER", help="URL of the service.", show_default=False)
]
NeededServer = Annotated[str, typer.Option("--server", envvar="VFQ_SERVER", help="URL of the service.")]
ModelPair = Annotated[
    ModelChoice | None,
    typer.Option("--models", help="voicefixer (the default), or baseline: weaker, but needs no weights."),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", help="A config.yml that names the models.", exists=True, dir_okay=False, readable=True),
]
Device = Annotated[
    str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N, for all models; otherwise VFQ_DEVICE.")
]
Folder = Annotated[Path | None, typer.Option("--dir", help="Folder of the weights; otherwise VFQ_WEIGHTS_DIR.")]
Revision = Annotated[str | None, typer.Option("--revision", help="Revision of the hub's repository.")]
KeysData = Annotated[
    Path | None,
    typer.Option(
        "--data", help="Data folder of a one-machine stack.", show_default="VFQ_STORAGE_URL, or ~/.local/share/…"
    ),
]
LOCAL = "http://127.0.0.1:8000"


@app.callback()
def every(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take what goes before a command."""


@app.command()
def api(
    host: Annotated[str | None, typer.Option(help="Address to listen on; otherwise VFQ_API_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; otherwise VFQ_API_PORT.")] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Serve the HTTP API."""
    from cli.rooms import run_api

    run_api(host, port, config, as_json=json)


@app.command()
def worker(
    stages: Annotated[str, typer.Option(help="What to serve: audio, restore, vocode, or all.")] = "all",
    config: Config = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Take work: audio (split and stitch), restore, vocode."""
    from cli.rooms import run_workers

    run_workers(stages, config, device, as_json=json)


@app.command()
def up(
    data: Annotated[Path | None, typer.Option(help="Folder for all data.", show_default="~/.local/share/…")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 for any.", show_default="8000")] = None,
    models: ModelPair = None,
    config: Config = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Run everything on this machine: Redis, API and workers, until Ctrl-C."""
    from cli.commands import run_up

    run_up(data, host, port, _models(models, config), device, as_json=json)


@app.command()
def restore(
    files: Annotated[
        list[Path], typer.Argument(help="Recordings.", exists=True, dir_okay=False, readable=True, show_default=False)
    ],
    server: Server = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="File, or a folder.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")] = False,
    mode: Annotated[int | None, typer.Option(help="VoiceFixer's mode: 0, 1 or 2.", show_default="0")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of mode 2.")] = None,
    stages: Annotated[str | None, typer.Option(help="restore, vocode, or both.", show_default="restore,vocode")] = None,
    samples: Annotated[int | None, typer.Option(help="With --stages vocode: length of the result.")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="wav, flac, aiff, ogg, mp3.")] = None,
    sample_rate: Annotated[str | None, typer.Option(help="Hz, or input.")] = None,
    bit_depth: Annotated[int | None, typer.Option(help="16, 24, or 32 (float).")] = None,
    channels: Annotated[str | None, typer.Option(help="A number, input, or mono.")] = None,
    priority: Annotated[str | None, typer.Option(help="interactive or bulk.", show_default="interactive")] = None,
    deadline: Annotated[float | None, typer.Option(help="Give up on a job after so many seconds.")] = None,
    metadata: Annotated[str | None, typer.Option(help="JSON object of yours, kept with the job.")] = None,
    restorer: Annotated[str | None, typer.Option(help="Name of the restorer, where there are several.")] = None,
    vocoder: Annotated[str | None, typer.Option(help="Name of the vocoder, where there are several.")] = None,
    models: ModelPair = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Restore recordings; without a server, on this machine."""
    from cli.commands import run_restore

    fields = {
        "mode": mode,
        "seed": seed,
        "stages": stages,
        "samples": samples,
        "priority": priority,
        "deadline_seconds": deadline,
        "metadata": metadata,
        "restorer": restorer,
        "vocoder": vocoder,
        "output.format": format_,
        "output.sample_rate": sample_rate,
        "output.bit_depth": bit_depth,
        "output.channels": channels,
    }
    run_restore(files, server, out, fields, _models(models, config), overwrite=overwrite, as_json=json)


@app.command()
def archive(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Folder with the recordings.", exists=True, file_okay=False)
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the results.", show_default=False)],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Take the folders in it as well.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what OUT holds.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do everything again, and replace what OUT holds.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Trust no size and time: compare checksums.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="So many files on their way at once.")] = 8,
    on_error: Annotated[OnError, typer.Option(help="What to do when a file fails.")] = OnError.go_on,
    report: Annotated[Path | None, typer.Option(help="File for a line of JSON per file.")] = None,
    receipts: Annotated[bool, typer.Option("--receipts", help="Keep its receipt beside each result.")] = False,
    patience: Annotated[float, typer.Option(min=0, help="Seconds for which the server may be away.")] = 3600.0,
    server: Server = None,
    mode: Annotated[int | None, typer.Option(help="VoiceFixer's mode: 0, 1 or 2.", show_default="0")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of mode 2.")] = None,
    stages: Annotated[str | None, typer.Option(help="restore, vocode, or both.", show_default="restore,vocode")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="wav, flac, aiff, ogg, mp3.")] = None,
    sample_rate: Annotated[str | None, typer.Option(help="Hz, or input.")] = None,
    bit_depth: Annotated[int | None, typer.Option(help="16, 24, or 32 (float).")] = None,
    channels: Annotated[str | None, typer.Option(help="A number, input, or mono.")] = None,
    deadline: Annotated[float | None, typer.Option(help="Give up on a job after so many seconds.")] = None,
    metadata: Annotated[str | None, typer.Option(help="JSON object of yours, kept with each job.")] = None,
    models: ModelPair = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Restore a folder of recordings into another one, once each; a run that was killed goes on with --resume."""
    from cli.archive.command import run_archive
    from cli.archive.order import Order

    options: dict[str, object] = {
        "mode": mode,
        "seed": seed,
        "stages": stages,
        "priority": "bulk",
        "deadline_seconds": deadline,
        "metadata": metadata,
        "output.format": format_,
        "output.sample_rate": sample_rate,
        "output.bit_depth": bit_depth,
        "output.channels": channels,
    }
    order = Order(
        source=source,
        target=target,
        fields={name: str(value) for name, value in options.items() if value is not None},
        models=_models(models, config),
        recursive=recursive,
        resume=resume,
        fresh=fresh,
        verify=verify,
        jobs=jobs,
        on_error=on_error.value,
        report=report,
        receipts=receipts,
        patience=patience,
    )
    run_archive(order, options, server, dry_run=dry_run, as_json=json)


@app.command()
def status(
    job_id: Annotated[str, typer.Argument(help="Id of the job.")], server: NeededServer = LOCAL, json: Json = False
) -> None:
    """Tell how a job fares."""
    from cli.commands import run_status

    run_status(job_id, server, as_json=json)


@app.command()
def cancel(
    job_id: Annotated[str, typer.Argument(help="Id of the job.")], server: NeededServer = LOCAL, json: Json = False
) -> None:
    """Ask a job to stop."""
    from cli.commands import run_cancel

    run_cancel(job_id, server, as_json=json)


@app.command()
def retry(
    job_id: Annotated[str, typer.Argument(help="Id of the job.")], server: NeededServer = LOCAL, json: Json = False
) -> None:
    """Do a job again that failed, was canceled or expired."""
    from cli.commands import run_retry

    run_retry(job_id, server, as_json=json)


@app.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(help="So many jobs, the youngest.")] = 20,
    state: Annotated[str | None, typer.Option("--status", help="Only jobs in this state.")] = None,
    server: NeededServer = LOCAL,
    json: Json = False,
) -> None:
    """List jobs, youngest first."""
    from cli.commands import run_list

    run_list(limit, state, server, as_json=json)


@app.command()
def recover(json: Json = False) -> None:
    """Bring back from storage the jobs that a lost Redis has forgotten."""
    from cli.recover import run_recover

    run_recover(as_json=json)


@weights_app.command()
def pull(directory: Folder = None, revision: Revision = None, config: Config = None, json: Json = False) -> None:
    """Fetch the weights (about 1 GB) and check them."""
    from cli.weights import run_pull

    run_pull(directory, revision, config, as_json=json)


@weights_app.command()
def verify(directory: Folder = None, revision: Revision = None, config: Config = None, json: Json = False) -> None:
    """Check that the weights on this machine are the published ones."""
    from cli.weights import run_verify

    run_verify(directory, revision, config, as_json=json)


@weights_app.command()
def where(directory: Folder = None, revision: Revision = None, config: Config = None, json: Json = False) -> None:
    """Tell which files a worker would load."""
    from cli.weights import run_where

    run_where(directory, revision, config, as_json=json)


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="Whose it is, for people.")],
    scope: Annotated[list[str] | None, typer.Option(help="submit, read, admin.", show_default="submit, read")] = None,
    submits: Annotated[int | None, typer.Option("--submits-per-minute", min=0, help="Limit of its own.")] = None,
    jobs: Annotated[int | None, typer.Option("--max-open", min=0, help="Unfinished jobs at once; 0: any.")] = None,
    data: KeysData = None,
    json: Json = False,
) -> None:
    """Make a key and show it, this once."""
    from cli.keys import run_create

    run_create(name, scope or ["submit", "read"], submits, jobs, data, as_json=json)


@keys_app.command("list")
def keys_list(data: KeysData = None, json: Json = False) -> None:
    """Show all keys, without their texts."""
    from cli.keys import run_list

    run_list(data, as_json=json)


@keys_app.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(help="Id of the key.")], data: KeysData = None, json: Json = False
) -> None:
    """Let a key open nothing any more."""
    from cli.keys import run_revoke

    run_revoke(key_id, data, as_json=json)


def _models(choice: ModelChoice | None, config: Path | None) -> Models:
    return Models(choice.value if choice else None, config)


if __name__ == "__main__":
    app()
