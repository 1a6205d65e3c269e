"""Which models a stack of a command's own gets."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cli.errors import UsageProblem

Pair = Literal["voicefixer", "baseline"]
_PAIRS: dict[Pair, dict[str, str]] = {
    "voicefixer": {"restorer": "VoiceFixerRestorer", "vocoder": "VoiceFixerVocoder"},
    "baseline": {"restorer": "SpectralGateRestorer", "vocoder": "GriffinLimVocoder"},
}


@dataclass(frozen=True)
class Models:
    """What the command line says of models; nothing leaves the choice to the environment.

    Attributes:
        pair: a restorer and a vocoder that go together
        config: a config.yml that names models

    """

    pair: Pair | None = None
    config: Path | None = None

    def check(self, *, server: str | None = None) -> None:
        """See that this can be.

        Raises:
            UsageProblem: where both are named, or one of them for a server.
        """
        if self.pair and self.config:
            raise UsageProblem("--config names the models, and so does --models; choose one.")
        if server and (self.pair or self.config):
            option = "--models" if self.pair else "--config"
            raise UsageProblem(f"{option} is for a stack of this command's own; the server has chosen its models.")

    def settings(self) -> dict[str, str]:
        """Give the settings that it means. What it names wins over the environment's VFQ_CONFIG too."""
        if self.pair:
            return {**_PAIRS[self.pair], "config": ""}
        return {"config": str(self.config.absolute())} if self.config else {}

    def arguments(self) -> tuple[str, ...]:
        """Give it as options of `up`."""
        if self.pair:
            return ("--models", self.pair)
        return ("--config", str(self.config.absolute())) if self.config else ()
