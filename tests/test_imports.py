"""Imports run one way: api → shared ← worker, cli → shared; within the worker from tasks down to models and audio."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("api", "worker", "shared", "cli", "bench", "tests")
HEAVY = ("torch", "torchlibrosa", "librosa", "soundfile", "soxr", "av", "numpy", "huggingface_hub")
#: What may reach into another room, and only inside a function: to start it, to look after the weights.
ENTRY_POINTS = {
    "cli.rooms": {"api.server", "worker.main"},
    "cli.weights": {"worker.models", "worker.weights"},
    "cli.spectrogram": {"soundfile", "numpy", "matplotlib"},
}


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, *, inside_functions: bool = True) -> Iterator[str]:
    """Full names of what a module imports; `from a import b` gives a.b, which may be a module or not."""
    for node in _nodes(ast.parse(path.read_text()), inside_functions=inside_functions):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _nodes(node: ast.AST, *, inside_functions: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        yield child
        if inside_functions or not _runs_later(child):
            yield from _nodes(child, inside_functions=inside_functions)


def _runs_later(node: ast.AST) -> bool:
    for_types_alone = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    return for_types_alone or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def among(found: str, names: tuple[str, ...] | set[str]) -> bool:
    return any(found == name or found.startswith(name + ".") for name in names)


def offences(folder: str, forbidden: tuple[str, ...], *, inside_functions: bool = True) -> list[str]:
    return [
        f"{name_of(path)} imports {found}"
        for path in modules(folder)
        for found in imports(path, inside_functions=inside_functions)
        if among(found, forbidden)
    ]


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("shared", ("api", "worker", "cli", "bench", "tests", *HEAVY)),
        ("api", ("worker", "cli", "bench", "tests", *HEAVY)),
        ("worker", ("api", "cli", "bench", "tests")),
        (
            "worker/models",
            (
                "worker.audio",
                "worker.backends",
                "worker.engine",
                "worker.steps",
                "worker.task",
                "worker.tasks",
                "shared",
            ),
        ),
        ("worker/audio", ("worker.models", "worker.engine", "worker.steps", "worker.task", "torch", "torchlibrosa")),
        ("worker/backends", ("worker.audio", "worker.engine", "worker.steps", "worker.task", "worker.tasks", "shared")),
        ("worker/engine", ("worker.audio", "worker.steps", "worker.task", "worker.tasks")),
        ("cli", ("bench", "tests")),
    ],
)
def test_a_room_never_imports_what_lies_above_or_beside_it(folder, forbidden):
    assert offences(folder, forbidden) == []


def test_models_import_nothing_of_the_worker_but_models():
    assert [one for one in offences("worker/models", ("worker",)) if " imports worker.models." not in one] == []


def test_models_need_torch_and_numpy_alone_until_they_are_used():
    others = ("torchlibrosa", "librosa", "huggingface_hub", "soundfile", "soxr", "av", "scipy", "celery", "structlog")
    assert offences("worker/models", others, inside_functions=False) == []


def test_the_command_line_starts_the_other_rooms_by_their_entry_points_alone():
    rooms = ("api", "worker", *HEAVY, "matplotlib")
    assert [one for one in offences("cli", rooms, inside_functions=False) if "cli.spectrogram" not in one] == []
    for path in modules("cli"):
        allowed = ENTRY_POINTS.get(name_of(path), set())
        found = [one for one in imports(path) if among(one, rooms) and not among(one, allowed)]
        assert found == [], f"{name_of(path)} imports {found}"


def test_every_room_is_checked():
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} <= set(ROOMS)
