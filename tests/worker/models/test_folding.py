import pytest
import torch

from bench.parity import snr_db
from worker.models.checkpoints import read_checkpoint
from worker.models.files import RESTORER_FILE
from worker.models.folding import fold_weight_norm
from worker.models.networks import folded, trained


@pytest.fixture(scope="module")
def mel(restorer):
    return torch.rand(1, 1, 70, 128, generator=torch.Generator().manual_seed(1)) ** 4 * 20


@torch.inference_mode()
def test_the_folded_restorer_computes_what_the_unfolded_one_does(restorer, mel):
    assert snr_db(restorer.unfolded.denoise(mel), restorer.runner.denoise(mel)) > 110
    clean = restorer.unfolded.denoise(mel)
    assert snr_db(restorer.unfolded.refine(mel, clean), restorer.runner.refine(mel, clean)) > 110


def norms(network):
    return sum(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


def test_folding_leaves_only_the_norms_that_precede_an_activation(restorer):
    # Of 58 residual blocks (4 + 4 in each of 6 levels, 2 alone) the second norm goes; of the denoiser's 6, five go.
    assert (norms(restorer.unfolded.denoiser), norms(restorer.runner.denoiser)) == (6, 1)
    assert norms(restorer.unfolded.unet) - norms(restorer.runner.unet) == 50


def test_a_folded_network_holds_none_of_the_tensors_it_was_made_of(source):
    tensors = read_checkpoint(source.folder / RESTORER_FILE, RESTORER_FILE, allow_other=True).tensors
    own = {key.removeprefix("generator."): value for key, value in tensors.items() if key.startswith("generator.")}
    network = folded(trained(own), torch.device("cpu"))
    assert torch.equal(
        network.unet.encoder_block1.conv_block1.conv2.weight, own["unet.encoder_block1.conv_block1.conv2.weight"]
    )
    given = {tensor.untyped_storage().data_ptr() for tensor in own.values()}
    assert given.isdisjoint(tensor.untyped_storage().data_ptr() for tensor in network.state_dict().values())


@pytest.mark.parametrize("kind", [torch.nn.Conv1d, torch.nn.ConvTranspose1d])
def test_weight_norm_folds_to_what_torch_makes_of_it(kind):
    layer = torch.nn.utils.parametrizations.weight_norm(kind(6, 4, 3))
    with torch.no_grad():
        layer.parametrizations.weight.original0.uniform_(0.5, 2)
    gain, direction = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    folded = fold_weight_norm({"up.weight_g": gain.data, "up.weight_v": direction.data, "up.bias": layer.bias.data})
    assert set(folded) == {"up.weight", "up.bias"}
    assert torch.allclose(folded["up.weight"], layer.weight, atol=1e-7)
