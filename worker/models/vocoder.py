"""VoiceFixer's synthesis module: linear mel → samples, for whole files and for windows of them."""

from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from worker.models.constants import HOP, N_MELS
from worker.models.errors import InputError
from worker.models.folding import fold_weight_norm, own_tensors, with_tensors
from worker.models.interface import Backend, Hashes, MelSpan
from worker.models.plain import PlainBackend
from worker.models.tfgan import TFGAN
from worker.models.validate import check_mel, check_span, check_spans

LOWEST_DB = 115.0
HALO = 579
"""Frames on either side of the wanted samples' own that an exact window holds, unless its file ends before.

The network reaches 575 or 576 frames from each of its samples, and they come two or three frames late.
"""
SILENCE = -4.0
"""What a bin of silence is normalised to, and what the tail frames are filled with."""


class VoiceFixerVocoder:
    """The vocoder, ready for inference on its backend."""

    model_type = "VoiceFixerVocoder"

    def __init__(self, network: TFGAN, *, backend: Backend | None = None, hashes: Hashes = dict) -> None:
        """Take a network whose tensors lie on the backend's device (default: plain, where they are).

        `hashes` is asked now that the network is ready, and may take its time or refuse.
        """
        self.backend = backend or PlainBackend(next(network.parameters()).device)
        self.runner = self.backend.run_vocoder(network.eval(), hashes)
        self.weights = dict(hashes())
        self._bin_weights = mel_weights().to(self.device)

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, Tensor],
        *,
        backend: Backend | None = None,
        hashes: Hashes = dict,
    ) -> "VoiceFixerVocoder":
        """Build from the tensors of a strictly checked vocoder file; they are copied to the backend's device."""
        backend = backend or PlainBackend()
        live = {key: tensor for key, tensor in tensors.items() if ".skip_conv." not in key}
        with torch.device("meta"):
            network = TFGAN()
        network = own_tensors(with_tensors(network, fold_weight_norm(live)), backend.device, foreign=live)
        return cls(network, backend=backend, hashes=hashes)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.backend.device

    def shape_key(self, frames: int, span: MelSpan) -> Hashable:
        """Windows of equal frames, tail frames and wanted samples share a batch, wherever their files end."""
        check_span(frames, span)
        return frames, tail_frames(frames, span), span.stop - span.start

    @torch.inference_mode()
    def vocode(self, mel: Tensor, spans: Sequence[MelSpan]) -> Tensor:
        """Mel windows `[B, 1, t, 128]` → the samples `[B, stop − start]` of each span; see `interface.Vocoder`.

        Exact where a window holds `HALO` true frames around its samples, or the file's end. Raises `InputError`.
        """
        check_mel(mel)
        check_spans(mel, spans)
        if len({self.shape_key(mel.shape[2], span) for span in spans}) != 1:
            raise InputError("Windows with and without their file's end came in one batch; batch by shape_key.")
        tail = tail_frames(mel.shape[2], spans[0])
        condition = functional.pad(self._normalise(mel.to(self.device)), (0, tail), value=SILENCE)
        starts = [first_sample(span) for span in spans]
        length = spans[0].stop - spans[0].start
        wanted = min(starts), max(starts) + length
        if wanted[0] < 0 or wanted[1] > HOP * condition.shape[2]:
            raise InputError("A mel window does not hold the frames of the samples that are wanted of it.")
        audio = self.runner(condition, wanted)
        rows = [audio[item, start - wanted[0] :][:length] for item, start in enumerate(starts)]
        return torch.stack(rows)

    def forward(self, mel: Tensor, samples: int | None = None) -> Tensor:
        """Vocode whole files: mel `[B, 1, T, 128]` → `[B, 1, samples]`, 441·(T−1) unless told otherwise.

        Raises `InputError`, also where T is not the number of frames of so many samples.
        """
        check_mel(mel)
        items, frames = mel.shape[0], mel.shape[2]
        total = HOP * (frames - 1) if samples is None else samples
        span = MelSpan(first_frame=0, total_frames=frames, total_samples=total, start=0, stop=total)
        return self.vocode(mel, [span] * items).unsqueeze(1)

    def _normalise(self, mel: Tensor) -> Tensor:
        """Linear mel `[B, 1, t, 128]` → `[B, 128, t]` in −4 … 4: decibels of the weighted bins, from −115 to 0."""
        decibels = 20.0 * torch.log10((mel[:, 0] / self._bin_weights).clamp_min(1e-5)) - 20.0
        return (8.0 * (decibels + LOWEST_DB) / LOWEST_DB - 4.0).clamp(-4.0, 4.0).mT


def mel_weights() -> Tensor:
    """The level of speech in each mel bin that the vocoder was trained to divide by, `[128]` float32."""
    bins = torch.arange(1, N_MELS + 1, dtype=torch.float64)
    return (18.8927416350036 * torch.exp(0.0269863588184314 * bins)).float()


def tail_frames(frames: int, span: MelSpan) -> int:
    """Frames of silence that follow a window: 4 or 5 (an even sum) at the end of its file, else none."""
    at_end = span.first_frame + frames == span.total_frames
    return 4 + span.total_frames % 2 if at_end else 0


def first_sample(span: MelSpan) -> int:
    """Where the span's first wanted sample stands in what the network makes of its window.

    The network delays by half of what a whole file, with its tail, is longer in frames than in samples.
    """
    surplus = HOP * (span.total_frames + 4 + span.total_frames % 2) - span.total_samples
    return span.start + surplus // 2 - HOP * span.first_frame
