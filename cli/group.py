"""How commands end: errors that were raised on purpose become one sentence and an exit code."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from shared.errors import SettingsError

_META = "voicefixer-queue.json"


class Commands(TyperGroup):
    """The commands; they raise typed errors and never print them."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            code = getattr(type(error), "code", None)
            if not isinstance(code, str):  # a bug: its traceback is wanted
                raise
            _explain(error, code, as_json=bool(ctx.meta.get(_META)))
            raise typer.Exit(_status(error)) from None


def _remember(ctx: typer.Context, value: bool) -> bool:
    ctx.meta[_META] = value
    return value


Json = Annotated[
    bool, typer.Option("--json", callback=_remember, is_eager=True, help="JSON on stdout, one document a line.")
]


def _explain(error: Exception, code: str, *, as_json: bool) -> None:
    from cli.output import emit, say

    if as_json:
        emit({"error": {"code": getattr(error, "problem_code", code), "message": str(error)}})
    say(f"voicefixer-queue: {error}")


def _status(error: Exception) -> int:
    if isinstance(error, SettingsError):
        return 2
    return int(getattr(type(error), "exit_code", 1))
