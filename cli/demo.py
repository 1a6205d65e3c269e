"""The demo: the sample goes through a whole stack on this machine, and a picture shows what changed.

python -m cli.demo
"""

import sys
from pathlib import Path

from cli import weights
from cli.client import Client
from cli.errors import CommandError, WeightsMissing
from cli.local import passing_stack
from cli.models import Models, Pair
from cli.output import say, tell
from cli.places import Place
from cli.progress import open_board
from cli.restore import Outcome, Wish, models_text, restore_files
from cli.spectrogram import Panel, draw
from shared.errors import ServiceError
from shared.settings import load_settings

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "samples" / "degraded-speech.wav"
OUT = ROOT / "demo-output"
RESULT = OUT / "restored-speech.wav"
PICTURE = OUT / "before-after.png"

WITHOUT_WEIGHTS = """
********************************************************************************
  NO VOICEFIXER HERE: its weights are not on this machine and cannot be fetched.
  The weight-free BASELINE makes this result, a spectral gate and Griffin-Lim.
  It takes noise away, but it is no neural network: it brings back no lost band,
  and its voice sounds rough.

  For the real thing (about 1 GB):   .venv/bin/voicefixer-queue weights pull
  or name a folder that has the two files in VFQ_WEIGHTS_DIR; then: make demo
********************************************************************************
"""


def main() -> None:
    """Run the demo; the last line says what became what."""
    try:
        outcome = _restore(_choose_models())
    except (ServiceError, OSError) as error:
        say(f"The demo failed: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        say("The demo was stopped; nothing is left running.")
        sys.exit(130)
    by = models_text(outcome.models)
    say(f"Sent {_shown(SAMPLE)} through API, storage, Redis and Celery workers on this machine; all are stopped again.")
    say(f"Result:  {_shown(RESULT)}")
    say(f"Picture: {_shown(PICTURE)} (spectrograms before and after)")
    tell(f"restored: {_shown(SAMPLE)} -> {_shown(RESULT)} ({by})")


def _choose_models() -> Pair:
    """VoiceFixer if its weights are here or come when asked; otherwise the baseline, said loudly."""
    settings = load_settings(config=None)  # its stack runs these models, whatever VFQ_CONFIG names
    if not weights.missing(settings):
        return "voicefixer"
    say("VoiceFixer's weights are not here; asking the hub for them (about 1 GB, once).")
    try:
        weights.fetch(settings)
    except WeightsMissing as error:
        say(error.message)
        say(WITHOUT_WEIGHTS)
        return "baseline"
    return "voicefixer"


def _restore(models: Pair) -> Outcome:
    wish = Wish([SAMPLE], [Place(OUT, RESULT.stem, RESULT)], {"output.format": "wav"}, overwrite=True)
    with passing_stack(Models(models)) as url:
        say(f"A stack runs at {url}.")
        with Client(url) as client, open_board() as board:
            outcome = restore_files(client, wish, board, lambda _: None)[0]
    if outcome.error:
        raise CommandError(outcome.error["message"])
    by = models_text(outcome.models)
    draw([Panel(SAMPLE, f"Before: {SAMPLE.name}"), Panel(RESULT, f"After: {RESULT.name}, by {by}")], PICTURE)
    return outcome


def _shown(path: Path) -> Path:
    """As short as it can be said from where we are."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


if __name__ == "__main__":
    main()
