"""How commands end: errors that were raised on purpose become one sentence and an exit code."""

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from shared.errors import SettingsError

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, one document a line.")]


class Commands(TyperGroup):
    """The commands; they raise typed errors and never print them."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        as_json = "--json" in ctx.args  # read here, because a wrong command line ends before options are
        try:
            return super().invoke(ctx)
        except Exception as error:
            if isinstance(getattr(type(error), "code", None), str):
                _explain(error, error.code, as_json=as_json)  # type: ignore[attr-defined]
                raise typer.Exit(_status(error)) from None
            if as_json and (usage := getattr(error, "format_message", None)):  # typer tells people itself
                _tell_scripts("usage", usage())
            raise  # otherwise a bug: its traceback is wanted


def show_version(value: bool) -> None:
    """Show the version and end, if asked to."""
    if value:
        typer.echo(f"voicefixer-queue {version('voicefixer-queue')}")
        raise typer.Exit


def _explain(error: Exception, code: str, *, as_json: bool) -> None:
    from cli.output import say

    if as_json:
        _tell_scripts(getattr(error, "problem_code", code), str(error))
    say(f"voicefixer-queue: {error}")


def _tell_scripts(code: str, message: str) -> None:
    from cli.output import emit

    emit({"error": {"code": code, "message": message}})


def _status(error: Exception) -> int:
    if isinstance(error, SettingsError):
        return 2
    return int(getattr(type(error), "exit_code", 1))
