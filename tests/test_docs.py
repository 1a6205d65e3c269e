"""README and docs speak of what there is: commands, settings, files, codes and the job as the API shows it."""

import ast
import importlib.util
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

from api import errors as api_errors
from api.jobs.schemas import OF_SOME_INPUTS, JobView
from cli.main import app
from shared.receipt import Receipt
from shared.settings import NOT_SETTINGS, PREFIX, Settings
from tools.settings_table import PAGE, with_table

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = [*PAGES, ROOT / "docker-compose.yml", ROOT / ".env.example", *sorted((ROOT / "docker").iterdir())]
COMMANDS = typer.main.get_command(app)
#: Answers of the HTTP library itself, by the name of the status.
OF_HTTP = {
    "not_found": 404,
    "method_not_allowed": 405,
    "uri_too_long": 414,
    "expectation_failed": 417,
    "request_header_fields_too_large": 431,
    "not_implemented": 501,
}
CODE = re.compile(r"\| ((?:`[a-z_]+`(?:, )?)+) \|")

parametrize_pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)


def spans(text: str) -> Iterator[str]:
    """What is printed as code: in spans, and the lines of blocks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    yield from (line.strip() for block in blocks for line in block.splitlines())
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def words_after(program: str, text: str) -> Iterator[list[str]]:
    """The arguments of each printed call of a program."""
    for span in spans(text):
        for found in re.finditer(rf"(?:^|[\s/]){program} ([^#;|·…]+)", span):
            yield shlex.split(found[1])


@parametrize_pages
def test_make_targets_exist(page):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {words[0] for words in words_after("make", page.read_text())}
    assert named <= set(targets)


@parametrize_pages
def test_commands_and_their_options_exist(page):
    for words in words_after("voicefixer-queue", page.read_text()):
        if not words[0].startswith("-"):
            check_command(words)


def check_command(words: list[str]) -> None:
    command, left = COMMANDS, list(words)
    while hasattr(command, "commands"):
        name = left.pop(0)
        assert name in command.commands, f"there is no command {name} in: {' '.join(words)}"
        command = command.commands[name]
        if not left:
            return
    known = {option for one in command.params for option in one.opts}
    assert {word.partition("=")[0] for word in left if word.startswith("-")} <= known, words


@parametrize_pages
def test_modules_that_are_run_exist(page):
    for words in words_after("python -m", page.read_text()):
        assert importlib.util.find_spec(words[0]), words[0]


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda path: path.name)
def test_settings_exist(page):
    of_commands = re.findall(r'envvar="(\w+)"', (ROOT / "cli" / "main.py").read_text())
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {*of_commands, *NOT_SETTINGS}
    assert set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+", page.read_text())) <= known


@parametrize_pages
def test_links_and_files_exist(page):
    text = page.read_text()
    for target, _, anchor in (link.partition("#") for link in re.findall(r"\]\(([^)\s]+)\)", text)):
        if target.startswith("http"):
            continue
        linked = (page.parent / target).resolve() if target else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}, anchor
    rooms = [path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
    for span in spans(text):
        if re.fullmatch(rf"(?:{'|'.join(rooms)})/[\w./-]*", span) and not span.startswith(
            ("build/", "data/", "demo-output/")
        ):
            assert (ROOT / span).exists(), span


def test_the_table_of_settings_is_that_of_the_settings():
    assert PAGE.read_text() == with_table(PAGE.read_text()), "run: python -m tools.settings_table"


def test_the_geometry_that_is_documented_is_the_default():
    text = (ROOT / "docs" / "models.md").read_text()
    rows = re.findall(rf"\| `{PREFIX}(\w+_FRAMES)` \| (\d+) \| ([\d.]+) \|", text)
    assert len(rows) == 4
    for name, frames, seconds in rows:
        assert int(frames) == getattr(Settings(), name.lower())
        assert float(seconds) == int(frames) / 100


def codes_in_source() -> set[str]:
    """Every `code` of an error class or of the records' script, and every one that is passed as a `problem_code`."""
    found = set()
    for path in (ROOT / "shared").rglob("*.lua"):
        found |= set(re.findall(r"\bcode = '(\w+)'", path.read_text()))
    for path in (path for room in ("api", "cli", "shared", "worker") for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found |= set(_code_of(node))
        found |= set(re.findall(r'problem_code="(\w+)"', path.read_text()))
        found |= set(re.findall(r'"code": "(\w+)"', path.read_text()))
    return found


def _code_of(node: ast.ClassDef) -> Iterator[str]:
    for one in node.body:
        targets = one.targets if isinstance(one, ast.Assign) else [one.target] if isinstance(one, ast.AnnAssign) else []
        named = [target.id for target in targets if isinstance(target, ast.Name)]
        if named == ["code"] and isinstance(one.value, ast.Constant):
            yield str(one.value.value)


def documented_codes() -> dict[str, int | None]:
    """Each code in the tables of docs/api.md, with its status where the table has one."""
    found: dict[str, int | None] = {}
    for line in (ROOT / "docs" / "api.md").read_text().partition("## Errors")[2].splitlines():
        if match := CODE.match(line):
            status = re.match(r" (\d{3}) \|", line[match.end() :])
            for code in re.findall(r"`(\w+)`", match[1]):
                found[code] = found.get(code) or (int(status[1]) if status else None)
    return found


def test_every_error_code_is_documented_and_none_that_is_not():
    assert len(codes_in_source()) > 40
    assert codes_in_source() | set(OF_HTTP) == set(documented_codes())


def test_documented_statuses_are_those_of_the_errors():
    documented = documented_codes()
    kinds = [one for one in vars(api_errors).values() if isinstance(one, type) and hasattr(one, "status")]
    assert {kind.code: kind.status for kind in kinds} == {kind.code: documented[kind.code] for kind in kinds}
    assert {code: documented[code] for code in OF_HTTP} == OF_HTTP


def test_the_job_in_the_documentation_is_one_that_the_api_may_show():
    text = (ROOT / "docs" / "api.md").read_text()
    job = json.loads(re.search(r"<!-- job:.*?```json\n(.*?)```", text, re.DOTALL)[1])
    view = JobView.model_validate(job)
    shown = view.model_dump(mode="json", by_alias=True)
    for name in OF_SOME_INPUTS:
        del shown["input"][name]
    assert json.loads(json.dumps(job)) == shown
    assert isinstance(view, BaseModel)


def test_the_receipt_in_the_documentation_is_one_that_a_worker_may_write():
    text = (ROOT / "docs" / "api.md").read_text()
    receipt = re.search(r"<!-- receipt:.*?```json\n(.*?)```", text, re.DOTALL)[1]
    assert Receipt.model_validate_json(receipt).model_dump(mode="json") == json.loads(receipt)


def test_the_limits_of_the_output_check_that_are_documented_are_those_of_the_code():
    from worker.receipts import review

    section = (ROOT / "docs" / "reliability.md").read_text().partition("## The output check")[2].partition("\n## ")[0]
    told = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", section)}
    limits = {abs(value) for name, value in vars(review).items() if name.isupper() and isinstance(value, float)}
    assert limits - told == {-review.LOST_DBFS}
    assert 100 * review.CLIPPED_SHARE in told


def test_every_option_of_a_job_is_documented():
    from shared.jobs import JobOptions, OutputRequest

    names = {*JobOptions.model_fields, *(f"output.{name}" for name in OutputRequest.model_fields)} - {"output"}
    api = (ROOT / "docs" / "api.md").read_text()
    assert [name for name in names if f"| `{name}` |" not in api] == []


def test_every_route_is_documented():
    from api.app import create_app

    rules = create_app(Settings(storage_url="file:///nowhere")).url_map.iter_rules()
    routes = {
        (re.sub(r"<(?:\w+:)?\w+>", "{id}", rule.rule), method)
        for rule in rules
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    told = re.findall(r"\| `([A-Z]+) (/\S*)` \|", (ROOT / "docs" / "api.md").read_text())
    ours = {(re.sub(r"{\w+}", "{id}", path), method) for method, path in told}
    assert ours <= routes
    of_swagger = {("/swagger", "GET"), ("/oauth2-redirect.html", "GET")}
    assert {route for route in routes if route[0].startswith("/v1") or route[0].count("/") == 1} - of_swagger == ours


def test_nothing_names_a_registry_or_a_place_of_some_machine():
    hosts = re.compile(
        r"pypi\.or[g]|pythonh[o]sted|download\.pytorc[h]|docker\.i[o]|ghcr\.i[o]|/roo[t]/|/wor[k]/|/home/(?!app\b)"
    )
    assert [path.name for path in EXAMPLES if hosts.search(path.read_text())] == []
