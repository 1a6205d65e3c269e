"""What stops a command: one sentence, and the exit code that scripts see."""

from typing import ClassVar

from shared.errors import ServiceError


class CommandError(ServiceError):
    """A command could not do what it was asked."""

    code: ClassVar[str] = "command_failed"
    exit_code: ClassVar[int] = 1


class UsageProblem(CommandError):
    """The command line asks for something that cannot be."""

    code: ClassVar[str] = "usage"
    exit_code: ClassVar[int] = 2


class StackError(CommandError):
    """The one-machine stack cannot start, or cannot go on."""

    code: ClassVar[str] = "stack_failed"


class StackRunning(StackError):
    """Another stack works on the same data folder."""

    code: ClassVar[str] = "stack_running"


class WeightsMissing(StackError):
    """VoiceFixer's weights are not here."""

    code: ClassVar[str] = "weights_unavailable"


class ServerUnreachable(CommandError):
    """No answer from the server, or one that is not its own."""

    code: ClassVar[str] = "server_unreachable"


class ServerProblem(CommandError):
    """The server answered with a problem document; `problem_code` is the server's own code."""

    code: ClassVar[str] = "server_problem"

    def __init__(self, message: str, *, status: int, problem_code: str) -> None:
        super().__init__(message)
        self.status = status
        self.problem_code = problem_code
