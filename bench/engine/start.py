"""The measured process of ours, started like a worker: ``python -m bench.engine.start WEIGHTS BACKEND PRECISION N``."""

import sys
from pathlib import Path

from bench.engine.child import Commands, serve
from worker.models.digests import hash_ahead
from worker.models.errors import ModelError
from worker.models.files import FILES
from worker.models.hub import WeightsSource


def main() -> None:
    """Begin to hash the weights, import what computes, and answer requests."""
    weights, backend, precision, threads = sys.argv[1:]
    hash_ahead(WeightsSource(folder=Path(weights), repositories=(), allow_other=True), FILES)
    from bench.engine.ours import commands

    def build() -> Commands:
        return commands(Path(weights), backend, precision, int(threads))

    serve(build, refusals=(ModelError,))


if __name__ == "__main__":
    main()
