"""Writes the table of settings in docs/operations.md: `python -m tools.settings_table`."""

from pathlib import Path
from typing import Any

from shared.settings import PREFIX, Settings

PAGE = Path(__file__).parents[1] / "docs" / "operations.md"
BEGIN = "<!-- settings: python -m tools.settings_table -->"
END = "<!-- end of settings -->"


def table() -> str:
    """Make a row for each setting, in the order in which they are declared."""
    rows = [
        f"| `{PREFIX}{name.upper()}` | {_shown(field.get_default())} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def with_table(page: str) -> str:
    """Put the table between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    if isinstance(value, float) and value.is_integer():
        return f"`{int(value)}`"
    return f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
