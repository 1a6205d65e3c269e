"""Folds what is constant at inference into its neighbours: batch norms into layers, weight norms into weights.

An evaluated batch norm is y = scale·x + shift with scale = γ/√(σ² + ε) and shift = β − μ·scale
(arXiv:1502.03167): after a linear layer, or before one with neither activation nor padding between, it vanishes.
Weight norm is w = g·v/‖v‖ (arXiv:1602.07868). The factors are worked out in float64; millions of
weights are multiplied by them in float32, which takes a third of the time.
"""

from collections.abc import Mapping
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from worker.models.denoiser import NormedGRU
from worker.models.unet import ResidualBlock

Network = TypeVar("Network", bound=nn.Module)


def with_tensors(blank: Network, tensors: Mapping[str, Tensor]) -> Network:
    """Give `blank`, built on the meta device, these very tensors."""
    blank.load_state_dict(tensors, assign=True)
    return blank.eval().requires_grad_(False)


def copy_tensors(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """The tensors in memory of their own on the device, whatever they were backed by."""
    return {key: tensor.to(device, copy=True) for key, tensor in tensors.items()}


def own_tensors(network: Network, device: torch.device, *, foreign: Mapping[str, Tensor]) -> Network:
    """Bring a network to the device, and copy what it still holds of the foreign tensors (a mapped file's)."""
    borrowed = {tensor.data_ptr() for tensor in foreign.values()}
    own = {key: tensor.to(device, copy=tensor.data_ptr() in borrowed) for key, tensor in network.state_dict().items()}
    return with_tensors(network, own)


def fold_denoiser(denoiser: nn.Sequential) -> None:
    """Fold five of the denoiser's six scalar norms; the one between a GRU and its ReLU stays."""
    _fold_before(denoiser, norm=0, linear=1)
    _fold_before(denoiser, norm=3, linear=4)
    for block in denoiser:
        if isinstance(block, NormedGRU):
            _fold_before_gru(block)
    # Between them lies only the dropout, which does nothing at inference.
    _fold_after(denoiser, linear=11, norm=13)


def fold_unet(unet: nn.Module) -> None:
    """Fold every second norm of the residual blocks; the first ones precede an activation, so they stay."""
    for block in unet.modules():
        if isinstance(block, ResidualBlock):
            scale, shift = affine(block.bn2)
            block.conv1.weight = _parameter(block.conv1.weight * scale.float().view(-1, 1, 1, 1))
            block.conv1.bias = _parameter(shift)
            block.bn2 = nn.Identity()


def fold_weight_norm(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn each `X.weight_g` and `X.weight_v` into `X.weight`; leave the rest as it is."""
    folded = {key: tensor for key, tensor in tensors.items() if not key.endswith((".weight_g", ".weight_v"))}
    for key, gain in tensors.items():
        if key.endswith(".weight_g"):
            direction = tensors[key.removesuffix("_g") + "_v"]
            norm = torch.linalg.vector_norm(direction, dim=(1, 2), keepdim=True, dtype=torch.float64)
            folded[key.removesuffix("_g")] = direction * (gain.double() / norm).float()
    return folded


def affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift of an evaluated batch norm, each `[channels]` float64."""
    batch_norm = cast(nn.BatchNorm2d, norm)
    mean, variance = cast(Tensor, batch_norm.running_mean), cast(Tensor, batch_norm.running_var)
    scale = batch_norm.weight.double() / torch.sqrt(variance.double() + batch_norm.eps)
    return scale, batch_norm.bias.double() - mean.double() * scale


def _fold_before(layers: nn.Sequential, *, norm: int, linear: int) -> None:
    scale, shift = affine(layers[norm])
    layer = cast(nn.Linear, layers[linear])
    weight, bias = layer.weight.double(), layer.bias.double()
    layer.weight, layer.bias = _parameter(weight * scale), _parameter(bias + weight.sum(dim=1) * shift)
    layers[norm] = nn.Identity()


def _fold_after(layers: nn.Sequential, *, linear: int, norm: int) -> None:
    scale, shift = affine(layers[norm])
    layer = cast(nn.Linear, layers[linear])
    weight, bias = layer.weight.double(), layer.bias.double()
    layer.weight, layer.bias = _parameter(weight * scale), _parameter(bias * scale + shift)
    layers[norm] = nn.Identity()


def _fold_before_gru(block: NormedGRU) -> None:
    scale, shift = affine(block.bn)
    for direction in ("l0", "l0_reverse"):
        weight = getattr(block.gru, f"weight_ih_{direction}").double()
        bias = getattr(block.gru, f"bias_ih_{direction}").double()
        setattr(block.gru, f"weight_ih_{direction}", _parameter(weight * scale))
        setattr(block.gru, f"bias_ih_{direction}", _parameter(bias + weight.sum(dim=1) * shift))
    block.bn = nn.Identity()


def _parameter(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.float(), requires_grad=False)
