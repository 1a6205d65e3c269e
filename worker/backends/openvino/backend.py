"""OpenVINO's backend: networks in, runners out, converted networks kept between starts."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import nn

from worker.backends.openvino import convert
from worker.backends.openvino.cache import ModelCache, Models, cache_folders
from worker.backends.openvino.library import VERSION, check_precision, configuration, core
from worker.backends.openvino.parts import Part, restorer_parts, vocoder_parts
from worker.backends.openvino.restorer import OpenVINORestorer
from worker.backends.openvino.running import PartRunner
from worker.backends.openvino.vocoder import OpenVINOVocoder
from worker.models.constants import GRID, HOP, N_MELS
from worker.models.interface import Hashes, Precision, RestorerRunner, VocoderRunner
from worker.models.networks import RestorerNetwork, blank_network, folded
from worker.models.tfgan import TFGAN

USUAL_FRAMES = 25 * GRID

Parts = list[tuple[Part, nn.Module]]


class OpenVINOBackend:
    """Intel's library on a CPU, in fp32 or bf16.

    Each part of a network is compiled once, when it is loaded, for any length of time: a new length costs nothing.
    """

    name = "openvino"

    def __init__(
        self,
        *,
        precision: Precision = "fp32",
        threads: int | None = None,
        cache_dir: Path | None = None,
        beside: Path | None = None,
    ) -> None:
        """Compute on `threads` (default: as many as torch), and keep converted networks in `cache_dir`.

        By default they are kept `beside` the weights, in their folder, or in the user's cache: `cache.cache_folders`.
        Raises `PrecisionUnavailableError`: not on this CPU.
        """
        check_precision(precision)
        self.precision: Precision = precision
        self.device = torch.device("cpu")
        self._configuration = configuration(precision, threads or torch.get_num_threads())
        self._cache = ModelCache(*([cache_dir] if cache_dir else cache_folders(beside)))

    def run_restorer(self, network: RestorerNetwork, hashes: Hashes) -> RestorerRunner:
        """Convert, or find converted, and compile; the network's tensors are not kept."""
        kinds = [part for part, _ in restorer_parts(blank_network())]
        prepared = self._prepare("restorer", hashes(), kinds, lambda: restorer_parts(folded(network, self.device)))
        runner = OpenVINORestorer(prepared)
        # Weights are laid out when they are first used, the UNet's once more if a window is much longer than the
        # first: in another 100 MB. So the first is as long as those of long files are.
        quiet = torch.full((1, 1, USUAL_FRAMES, N_MELS), 1e-4)
        runner.refine(quiet, runner.denoise(quiet))
        return runner

    def run_vocoder(self, network: TFGAN, hashes: Hashes) -> VocoderRunner:
        """Convert, or find converted, and compile; the network's tensors are not kept."""
        kinds = [part for part, _ in vocoder_parts(network)]
        runner = OpenVINOVocoder(self._prepare("vocoder", hashes(), kinds, lambda: vocoder_parts(network)))
        runner(torch.zeros(1, N_MELS, 16), (0, 16 * HOP))
        return runner

    def _prepare(
        self, name: str, weights: Mapping[str, str], kinds: Iterable[Part], parts: Callable[[], Parts]
    ) -> dict[str, PartRunner]:
        """Compile a network; `parts` is called only if it was not converted before."""
        models = self._models(name, weights, parts)
        return {
            part.name: PartRunner(part, core().compile_model(models[part.name], "CPU", dict(self._configuration)))
            for part in kinds
        }

    def _models(self, name: str, weights: Mapping[str, str], parts: Callable[[], Parts]) -> Models:
        recipe = {"weights": dict(weights), "conversion": convert.VERSION, "openvino": VERSION, "shapes": "any time"}
        if weights:
            return self._cache.fetch(name, recipe, lambda: _converted(parts()))
        return dict(_converted(parts()))


def _converted(parts: Parts) -> Models:
    return {part.name: convert.convert(part, network) for part, network in parts}
