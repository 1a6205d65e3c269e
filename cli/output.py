"""What commands write: JSON on stdout for scripts, sentences on stderr for people."""

import json
import sys
from typing import Any

from rich.console import Console

#: Where people read. Not stdout, which belongs to results.
people = Console(stderr=True, highlight=False, soft_wrap=True)


def emit(document: Any) -> None:
    """Write one JSON document as one line on stdout."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def tell(text: str) -> None:
    """Write a result for people on stdout, as it is."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Write a sentence for people on stderr, as it is: no markup is read in it."""
    people.print(text, markup=False)
