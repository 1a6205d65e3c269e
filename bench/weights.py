"""Random weights in the two published files' exact format: `python -m bench.weights OUT_FOLDER [--seed N]`.

They restore nothing, but everything that moves data, folds, pads or trims is proved on them as well as on the
published ones, if activations stay in a sane range. So every layer is scaled, and every batch norm takes its
statistics, while a speech-like signal passes through, one layer after the other.
"""

import argparse
import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.signals import speech_like
from worker.models.constants import SAMPLE_RATE, WINDOW
from worker.models.files import FILES, RESTORER_FILE, VOCODER_FILE
from worker.models.frontend import AnalyticSTFT, MelFrontEnd, analytic_kernels, centre_pad, mel_triangles
from worker.models.layout import VOCODER_IN_RESTORER, restorer_layout
from worker.models.networks import RestorerNetwork
from worker.models.tfgan import TFGAN, ResidualStack
from worker.models.unet import ResidualBlock
from worker.models.vocoder import VoiceFixerVocoder

VERSION = 1
"""Goes up when the same seed gives other weights."""
MARKER = "random-weights.json"
SECONDS = 4.0
"""Of the signal that calibrates the restorer; the vocoder takes the first `FRAMES` frames of its mel."""
FRAMES = 128

Tensors = dict[str, Tensor]


def ensure_weights(folder: Path, seed: int = 0) -> Path:
    """Write the two files of this seed into the folder, unless they are there already; gives the folder.

    Raises `FileExistsError` rather than overwrite weights that it did not write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / MARKER
    wanted = json.dumps({"seed": seed, "version": VERSION})
    with (folder / "lock").open("w") as lock:
        # Two test runs at once: the second waits and finds the files.
        fcntl.flock(lock, fcntl.LOCK_EX)
        there = [(folder / file).exists() for file in FILES]
        if any(there) and not marker.exists():
            raise FileExistsError(f"{folder} holds weights that are not random ones; name another folder.")
        if not all(there) or marker.read_text() != wanted:
            marker.write_text("being written")
            restorer, vocoder = random_weights(seed)
            _save(restorer, folder / RESTORER_FILE)
            _save({"generator": vocoder}, folder / VOCODER_FILE)
            marker.write_text(wanted)
    return folder


@torch.inference_mode()
def random_weights(seed: int) -> tuple[Tensors, Tensors]:
    """The tensors of both files, calibrated; the same seed gives the same draw."""
    generator = torch.Generator().manual_seed(seed)
    audio = torch.from_numpy(speech_like(int(SECONDS * SAMPLE_RATE), seed))[None]
    mel = MelFrontEnd(AnalyticSTFT(), mel_triangles())(centre_pad(audio))
    network = _drawn(RestorerNetwork(), generator)
    restored = _calibrate(network, generator, lambda: network(mel))
    vocoder = _drawn(TFGAN(), generator)
    whole = VoiceFixerVocoder(vocoder)
    _calibrate(vocoder, generator, lambda: whole.forward(restored[:, :, :FRAMES]))
    skips = _skip_branches(generator)
    plain = {key: tensor.clone() for key, tensor in vocoder.state_dict().items()} | skips
    return _restorer_file(network, plain), _weight_normed(plain, generator)


def _drawn(network: nn.Module, generator: torch.Generator) -> Any:
    """Every weight normal with the deviation that keeps a signal's level, every bias zero, GRUs as torch does."""
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(module, nn.GRU):
                parameter.uniform_(-1 / 16, 1 / 16, generator=generator)
            elif name == "weight" and parameter.ndim > 1:
                fan = parameter[0].numel()
                parameter.normal_(0.0, fan**-0.5, generator=generator)
            else:
                parameter.zero_()
    return network.eval()


def _calibrate(network: nn.Module, generator: torch.Generator, run: Callable[[], Tensor]) -> Tensor:
    """Run once with a hook on each layer that settles it as the signal reaches it."""
    hooks: list[Any] = []
    targets = _targets(network)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(_settle_norm(generator)))
        elif module in targets:
            if isinstance(module, nn.ConvTranspose1d):
                hooks.append(module.register_forward_pre_hook(_silence_constant))
            hooks.append(module.register_forward_hook(_settle_layer(targets[module], generator)))
    output = run()
    for hook in hooks:
        hook.remove()
    return output


def _targets(network: nn.Module) -> dict[nn.Module, tuple[float, float]]:
    """The deviation and the mean that each linear or convolution is to give.

    Residual branches stay small beside what they are added to, and what enters a ReLU leans to its open side, as
    in trained networks. Without that a random network multiplies every rounding error by ten or more.
    """
    kinds = (nn.Linear, nn.Conv1d, nn.ConvTranspose1d, nn.Conv2d, nn.ConvTranspose2d)
    # The restorer leans by its batch norms; the vocoder, which has none, by what its layers give.
    usual = (0.6, 1.0) if isinstance(network, TFGAN) else (1.0, 0.0)
    targets: dict[nn.Module, tuple[float, float]] = {
        module: usual for module in network.modules() if isinstance(module, kinds)
    }
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            targets[module.conv2] = 0.3, 0.0
        elif isinstance(module, ResidualStack):
            targets |= {layer.get_submodule("3"): (0.1, 0.0) for layer in module.layers}
        elif isinstance(module, RestorerNetwork):
            targets[module.unet.after_conv2] = 0.25, 0.0
        elif isinstance(module, TFGAN):
            targets[module.generator[16]] = 0.12, 0.0
    return targets


def _settle_layer(target: tuple[float, float], generator: torch.Generator) -> Callable[..., Tensor]:
    """Centre and scale each channel by what passes, so that no layer drowns the signal in its own constant."""

    level, centre = target

    def hook(module: Any, _: object, output: Tensor) -> Tensor:
        channels = output.ndim - 1 if isinstance(module, nn.Linear) else 1
        along = [axis for axis in range(output.ndim) if axis != channels]
        variance, mean = torch.var_mean(output, dim=along, correction=0)
        if module.bias is None:
            gain = (level / variance.mean().sqrt()).expand_as(mean)
            shift = torch.zeros_like(mean)
        else:
            gain = level / (variance + 0.1 * variance.mean()).sqrt()
            shift = centre + torch.randn(mean.shape, generator=generator) * 0.1 * level - gain * mean
            module.bias.copy_(shift)
        inputs_first = isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d)
        module.weight.mul_(_along(gain, module.weight.ndim, 1 if inputs_first else 0))
        return output * _along(gain, output.ndim, channels) + _along(shift, output.ndim, channels)

    return hook


def _silence_constant(module: Any, inputs: tuple[Tensor, ...]) -> None:
    """Make an upsampler deaf to the mean of its input, which each of its phases would turn into a fixed tone."""
    mean = inputs[0].mean(dim=(0, 2))
    module.weight.sub_(torch.einsum("i,j,jok->iok", mean, mean, module.weight) / mean.square().sum())


def _along(values: Tensor, dimensions: int, axis: int) -> Tensor:
    return values.view([-1 if each == axis else 1 for each in range(dimensions)])


def _settle_norm(generator: torch.Generator) -> Callable[..., None]:
    """Take the statistics of what passes, leaning on those of all channels where few values pass."""

    def hook(module: Any, inputs: tuple[Tensor, ...]) -> None:
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        trust = (count := inputs[0][:, 0].numel()) / (count + 30)
        variance = trust * variance + (1 - trust) * (variance + mean.square()).mean()
        noise = torch.empty_like(mean)
        module.running_mean.copy_(trust * mean + 0.1 * variance.sqrt() * noise.normal_(generator=generator))
        module.running_var.copy_(variance * noise.uniform_(0.8, 1.25, generator=generator) + 1e-3)
        module.weight.uniform_(0.8, 1.2, generator=generator)
        module.bias.normal_(0.7, 0.2, generator=generator)
        module.num_batches_tracked.fill_(1000)

    return hook


def _skip_branches(generator: torch.Generator) -> Tensors:
    layout = restorer_layout()
    return {
        key.removeprefix(VOCODER_IN_RESTORER): torch.randn(spec.shape, generator=generator) * 0.05
        for key, spec in layout.items()
        if ".skip_conv." in key
    }


def _weight_normed(plain: Tensors, generator: torch.Generator) -> Tensors:
    """Split each live weight into gain and direction, the direction at a length of no meaning, as after training."""
    split: Tensors = {}
    for key, tensor in plain.items():
        if key.endswith(".weight") and ".skip_conv." not in key:
            gain = torch.linalg.vector_norm(tensor, dim=(1, 2), keepdim=True)
            length = torch.empty_like(gain).uniform_(0.5, 2.0, generator=generator)
            split[f"{key}_g"], split[f"{key}_v"] = gain, tensor / gain * length
        else:
            split[key] = tensor
    return split


def _restorer_file(network: RestorerNetwork, vocoder: Tensors) -> Tensors:
    real, imag = analytic_kernels()
    steps = torch.outer(torch.arange(WINDOW), torch.arange(WINDOW)) % WINDOW
    turn = torch.arange(WINDOW, dtype=torch.float64) * (2 * torch.pi / WINDOW)
    window = torch.hann_window(WINDOW, periodic=True, dtype=torch.float64)
    inverse = {
        f"f_helper.istft.conv_{part}.weight": (wave[steps] * window[:, None] / WINDOW).float().unsqueeze(2)
        for part, wave in (("real", turn.cos()), ("imag", turn.sin()))
    }
    front = {"f_helper.stft.conv_real.weight": real, "f_helper.stft.conv_imag.weight": imag}
    rest = {"f_helper.istft.ola_window": window.square().float(), "mel.fb": mel_triangles()}
    own = {f"generator.{key}": tensor for key, tensor in network.state_dict().items()}
    return front | inverse | rest | own | {VOCODER_IN_RESTORER + key: tensor for key, tensor in vocoder.items()}


def _save(content: object, path: Path) -> None:
    """Write beside, then rename, so that nobody reads half a file."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    torch.save(content, part)
    part.replace(path)


def main() -> None:
    """Write the files and say where."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder = ensure_weights(arguments.folder, arguments.seed)
    print(f"{folder}: {', '.join(FILES)} with random weights of seed {arguments.seed}")


if __name__ == "__main__":
    main()
