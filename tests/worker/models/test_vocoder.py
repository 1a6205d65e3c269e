import itertools

import pytest
import torch

from bench.parity import snr_db
from bench.signals import speech_like
from worker.models.checkpoints import read_checkpoint
from worker.models.constants import HOP
from worker.models.errors import InputError
from worker.models.files import VOCODER_FILE
from worker.models.frontend import AnalyticSTFT, MelFrontEnd, centre_pad, mel_triangles
from worker.models.interface import MelSpan
from worker.models.plain import PlainBackend
from worker.models.tfgan import FACTORS, plan_ranges
from worker.models.vocoder import HALO, VoiceFixerVocoder, first_sample


def mel_of(samples, seed=1):
    return MelFrontEnd(AnalyticSTFT(), mel_triangles())(centre_pad(torch.from_numpy(speech_like(samples, seed))[None]))


def vocode_window(vocoder, mel, samples, start, stop, halo=HALO):
    """The samples start … stop from no more frames than a halo around them."""
    total = mel.shape[2]
    first, last = max(start // HOP - halo, 0), min(-(-stop // HOP) + halo, total)
    assert halo < HALO or last - first < total
    span = MelSpan(first, total, samples, start, stop)
    return vocoder.vocode(mel[:, :, first:last], [span])


@pytest.fixture(scope="module")
def even_file(vocoder):
    """660 frames, an even number, and the output of one pass in which nothing is cropped."""
    samples = HOP * 659 + 217
    mel = mel_of(samples)
    return samples, mel, vocoder.forward(mel, samples)[:, 0]


@pytest.mark.parametrize("start", [0, HOP * 20 + 100, -HOP * 12, -HOP * 30 + 3])
def test_a_window_with_full_halo_gives_the_samples_of_the_whole_file(vocoder, even_file, start):
    samples, mel, whole = even_file
    start %= samples
    stop = min(start + HOP * 12, samples)
    window = vocode_window(vocoder, mel, samples, start, stop)
    assert snr_db(whole[:, start:stop], window) > 110


def test_a_window_with_less_than_the_reach_does_not(vocoder, even_file):
    samples, mel, whole = even_file
    start, stop = HOP * 300, HOP * 304
    assert snr_db(whole[:, start:stop], vocode_window(vocoder, mel, samples, start, stop, halo=40)) < 100


@pytest.mark.parametrize(("frames", "at"), [(661, 650), (1191, 590)])
def test_a_file_with_an_odd_number_of_frames_has_no_seams_either(vocoder, frames, at):
    samples, start = HOP * (frames - 1) + 1, HOP * at
    mel = mel_of(samples, 2)
    span = MelSpan(0, frames, samples, start, start + HOP * 6)
    whole = vocoder.vocode(mel, [span])  # cropped on the way, as the even file proves to be exact
    assert snr_db(whole, vocode_window(vocoder, mel, samples, start, start + HOP * 6)) > 110


@pytest.mark.parametrize("samples", [HOP * 60, HOP * 60 + 440, HOP * 61, HOP * 61 + 333])
def test_part_of_a_short_file_is_part_of_its_whole(vocoder, samples):
    mel = mel_of(samples)
    whole = vocoder.forward(mel, samples)[:, 0]
    assert whole.shape == (1, samples)
    for start, stop in ((0, 50), (1000, 1500), (samples - 700, samples)):
        part = vocoder.vocode(mel, [MelSpan(0, mel.shape[2], samples, start, stop)])
        assert snr_db(whole[:, start:stop], part) > 110


def test_the_halo_is_what_the_farthest_sample_needs():
    before, after = [], []
    for frames, rest in itertools.product((2000, 2001), (0, 217, 440)):
        for sample in range(HOP * 1000, HOP * 1001, 20):
            at = first_sample(MelSpan(0, frames, HOP * (frames - 1) + rest, sample, sample + 1))
            needed = plan_ranges(frames, (at, at + 1)).frames
            before.append(1000 - needed[0])
            after.append(needed[1] - 1001)
    assert max(*before, *after) == HALO


def test_ranges_shrink_on_the_way_up():
    plan = plan_ranges(3000, (HOP * 1000, HOP * 2000))
    frames, spans = 1.0, [(plan.frames[1] - plan.frames[0])]
    for factor, (start, stop) in zip(FACTORS, plan.leave, strict=True):
        frames *= factor
        spans.append((stop - start) / frames)
    assert spans == sorted(spans, reverse=True)
    assert spans[-1] < 1020


@pytest.mark.parametrize("frames", [2, 3, 8])
def test_the_default_length_is_441_samples_a_frame_but_the_last(vocoder, frames):
    mel = torch.rand(2, 1, frames, 128)
    audio = vocoder.forward(mel)
    assert audio.shape == (2, 1, HOP * (frames - 1))
    assert audio.abs().max() < 1


def test_one_frame_needs_to_be_told_its_samples(vocoder):
    mel = torch.rand(1, 1, 1, 128)
    assert vocoder.forward(mel, 100).shape == (1, 1, 100)
    with pytest.raises(InputError, match="1 to 440 samples"):
        vocoder.forward(mel)


def test_windows_of_different_files_share_a_batch(vocoder):
    mels = torch.cat((mel_of(HOP * 40 + 3, 1), mel_of(HOP * 40 + 3, 2)))
    spans = [MelSpan(0, 41, HOP * 40 + 3, 0, 900), MelSpan(0, 41, HOP * 40 + 300, 100, 1000)]
    assert vocoder.shape_key(41, spans[0]) == vocoder.shape_key(41, spans[1])
    together = vocoder.vocode(mels, spans)
    for item, span in enumerate(spans):
        assert snr_db(vocoder.vocode(mels[item : item + 1], [span]), together[item : item + 1]) > 110


def test_windows_with_and_without_the_files_end_share_none(vocoder):
    inside, at_end = MelSpan(0, 90, HOP * 89, 0, 900), MelSpan(0, 40, HOP * 39, 0, 900)
    assert vocoder.shape_key(40, inside) != vocoder.shape_key(40, at_end)
    with pytest.raises(InputError, match="shape_key"):
        vocoder.vocode(torch.rand(2, 1, 40, 128), [inside, at_end])


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (MelSpan(60, 90, HOP * 89, 0, 900), "leaves its file"),
        (MelSpan(0, 90, HOP * 95, 0, 900), "were asked for"),
        (MelSpan(0, 90, HOP * 89, 900, 900), "no part of an output"),
        (MelSpan(0, 90, HOP * 89, HOP * 80, HOP * 89), "does not hold the frames"),
        (MelSpan(40, 90, HOP * 89, 0, 900), "does not hold the frames"),
    ],
)
def test_a_span_that_cannot_be_is_refused(vocoder, span, words):
    with pytest.raises(InputError, match=words):
        vocoder.vocode(torch.rand(1, 1, 40, 128), [span])


def test_every_tensor_follows_the_model_to_its_device(random_weights):
    """The meta device computes shapes alone and, like a GPU, refuses what was left on the CPU."""
    tensors = read_checkpoint(random_weights / VOCODER_FILE, VOCODER_FILE, allow_other=True).tensors
    vocoder = VoiceFixerVocoder.from_tensors(tensors, backend=PlainBackend("meta"))
    audio = vocoder.forward(torch.rand(1, 1, 30, 128))
    assert (audio.device.type, audio.shape) == ("meta", (1, 1, HOP * 29))
