"""VoiceFixer's analysis module: degraded samples → clean mel (arXiv:2109.13731)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from worker.models.constants import SAMPLE_RATE, frame_count
from worker.models.denoiser import build_denoiser, from_log, to_log
from worker.models.errors import InputError
from worker.models.folding import fold_denoiser, fold_unet, share_tensors
from worker.models.frontend import MelFrontEnd, build_front_end, centre_pad
from worker.models.interface import RestoreCondition
from worker.models.mode2 import in_training_manner
from worker.models.unet import UNet
from worker.models.validate import check_audio, check_conditions, check_padded, check_sample_rate


class RestorerNetwork(nn.Module):
    """Denoiser and UNet, with the checkpoint's names below `generator.`."""

    def __init__(self) -> None:
        super().__init__()
        self.denoiser = build_denoiser()
        self.unet = UNet()

    def denoise(self, mel: Tensor) -> Tensor:
        """Linear mel `[B, 1, T, 128]` → masked linear mel."""
        mask: Tensor = self.denoiser(mel)
        return mask * mel

    def refine(self, mel: Tensor, clean: Tensor) -> Tensor:
        """Noisy and masked linear mel → what the UNet adds to the log10 of the latter."""
        residual: Tensor = self.unet(torch.cat((to_log(mel), to_log(clean)), dim=1))
        return residual

    def forward(self, mel: Tensor) -> Tensor:
        """Linear mel `[B, 1, T, 128]` → restored linear mel of the same shape."""
        clean = self.denoise(mel)
        return from_log(self.refine(mel, clean) + to_log(clean))


class VoiceFixerRestorer:
    """The restorer, ready for inference on one device."""

    model_type = "VoiceFixerRestorer"

    def __init__(
        self, front_end: MelFrontEnd, network: RestorerNetwork, *, weights: Mapping[str, str] | None = None
    ) -> None:
        """Take an unfolded network whose tensors lie on the device to be used."""
        self.weights = dict(weights or {})
        self.front_end = front_end.eval()
        self.unfolded = network.eval()
        self.network = folded(network)
        self._drawn: tuple[RestorerNetwork, torch.Generator] | None = None

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], *, device: str = "cpu", weights: Mapping[str, str] | None = None
    ) -> "VoiceFixerRestorer":
        """Build from the tensors of a strictly checked `vf.ckpt`; they are copied to the device."""
        prefix = "generator."
        own = {
            key.removeprefix(prefix): tensor.to(device, copy=True)
            for key, tensor in tensors.items()
            if key.startswith(prefix)
        }
        network = blank_network()
        network.load_state_dict(own, assign=True)
        front_end = build_front_end(
            real=tensors["f_helper.stft.conv_real.weight"].clone(),
            imag=tensors["f_helper.stft.conv_imag.weight"].clone(),
            triangles=tensors["mel.fb"].clone(),
        )
        return cls(front_end.to(device), network.requires_grad_(False), weights=weights)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return next(self.network.parameters()).device

    @torch.inference_mode()
    def restore(self, padded: Tensor, conditions: Sequence[RestoreCondition]) -> Tensor:
        """Restore windows `[B, 441·(F−1) + 2048]` to linear mels `[B, 1, F, 128]`; see `interface.Restorer`.

        The items of mode 2 run one by one, because their statistics are their own. Raises `InputError`.
        """
        check_padded(padded, conditions)
        return self._restore_mel(self.front_end(padded.to(self.device)), conditions)

    @torch.inference_mode()
    def forward(self, audio: Tensor, *, sample_rate: int = SAMPLE_RATE, mode: int = 0, seed: int = 0) -> Tensor:
        """Restore whole files `[B, 1, N]` to linear mels `[B, 1, N//441 + 1, 128]`, in mode 0 or 2.

        Raises `InputError`, also for mode 1: its band limit is applied to the samples before they come here.
        """
        check_sample_rate(sample_rate)
        check_audio(audio)
        conditions = [RestoreCondition(mode=mode, seed=seed)] * audio.shape[0]
        check_conditions(conditions, audio.shape[0])
        if mode == 1:
            raise InputError("Mode 1 is mode 0 on band-limited samples: limit the band first, then ask for mode 0.")
        mel = self.front_end(centre_pad(audio[:, 0].to(self.device)))
        return self._restore_mel(mel, conditions)[:, :, : frame_count(audio.shape[2])]

    def _restore_mel(self, mel: Tensor, conditions: Sequence[RestoreCondition]) -> Tensor:
        drawn = [item for item, condition in enumerate(conditions) if condition.mode == 2]
        plain = [item for item, condition in enumerate(conditions) if condition.mode != 2]
        restored = torch.empty_like(mel)
        if plain:
            restored[plain] = self.network(mel[plain])
        for item in drawn:
            restored[item : item + 1] = self._draw(mel[item : item + 1], conditions[item].seed)
        return restored

    def _draw(self, mel: Tensor, seed: int) -> Tensor:
        if self._drawn is None:
            twin = share_tensors(self.unfolded, blank_network())
            self._drawn = twin, in_training_manner(twin)
        network, generator = self._drawn
        generator.manual_seed(seed)
        restored: Tensor = network(mel)
        return restored


def blank_network() -> RestorerNetwork:
    """A network without storage, for tensors to be assigned to."""
    with torch.device("meta"):
        return RestorerNetwork()


def folded(network: RestorerNetwork) -> RestorerNetwork:
    """The same function in fewer steps; shares with `network` every tensor that folding leaves as it is."""
    twin = share_tensors(network, blank_network())
    fold_denoiser(twin.denoiser)
    fold_unet(twin.unet)
    return twin
