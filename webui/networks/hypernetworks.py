"""A1111's hypernetworks: small networks that stand before the K and V of attention layers.

A file holds pairs of them, one pair for each width that an attention layer may read: the first
changes what K is made from, the second what V is made from, as ``x + strength · network(x)``.
Nothing of the U-Net is changed: taking them off is removing the hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

ACTIVATIONS: Final[Mapping[str, Callable[[], nn.Module]]] = {
    "relu": nn.ReLU, "leakyrelu": nn.LeakyReLU, "elu": nn.ELU, "swish": nn.Hardswish,
    "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "hardswish": nn.Hardswish, "relu6": nn.ReLU6,
    "hardtanh": nn.Hardtanh, "hardsigmoid": nn.Hardsigmoid, "celu": nn.CELU, "selu": nn.SELU,
    "gelu": nn.GELU, "silu": nn.SiLU, "mish": nn.Mish, "softplus": nn.Softplus,
    "softsign": nn.Softsign, "softshrink": nn.Softshrink, "hardshrink": nn.Hardshrink,
    "tanhshrink": nn.Tanhshrink, "logsigmoid": nn.LogSigmoid, "rrelu": nn.RReLU,
}  # fmt: skip
"""By A1111's names: its own ones («swish» is torch's Hardswish), then torch's in lower case."""
NO_ACTIVATION: Final = ("linear", "", None)
OLD_NAMES: Final = {"linear1.": "linear.0.", "linear2.": "linear.1."}
"""Of the first version (October 2022), which had two layers and no more."""


class HypernetworkError(ValueError):
    """The parts of a file make up no hypernetwork; says why."""


@dataclass(frozen=True)
class Hypernetwork:
    """A hypernetwork in memory.

    Attributes:
        name: As prompts name it.
        pairs: Width that is read → what changes K's input, what changes V's.
    """

    name: str
    pairs: Mapping[int, tuple[nn.Module, nn.Module]]

    @property
    def widths(self) -> frozenset[int]:
        """Widths it has networks for."""
        return frozenset(self.pairs)


def build_network(
    tensors: Mapping[str, Tensor], width: int, *, activation: str | None, activates_output: bool
) -> nn.Sequential:
    """One of a pair: linear layers, each with its activation and its normalisation.

    Dropout, which files may name, does nothing outside of training and is left out.

    Args:
        tensors: ``linear.<n>.weight`` and ``.bias``; memory of their own.
        width: Of what goes in and comes out.
        activation: A1111's name; stands after every linear layer but the last.
        activates_output: It stands after the last one, too.
    Raises:
        HypernetworkError: Unknown activation, or layers that do not follow on each other.
    """
    if activation not in NO_ACTIVATION and activation not in ACTIVATIONS:
        raise HypernetworkError(f"its activation {activation!r} is not known")
    layers = list(_layers({_present_name(name): t for name, t in tensors.items()}))
    last = max((i for i, layer in enumerate(layers) if isinstance(layer, nn.Linear)), default=-1)
    ordered: list[nn.Module] = []
    for place, layer in enumerate(layers):
        ordered.append(layer)
        is_active = isinstance(layer, nn.Linear) and (place != last or activates_output)
        if is_active and activation not in NO_ACTIVATION:
            ordered.append(ACTIVATIONS[activation]())
    _check_widths(layers, width)
    return nn.Sequential(*ordered).eval().requires_grad_(False)


def _present_name(name: str) -> str:
    for old, new in OLD_NAMES.items():
        if name.startswith(old):
            return new + name[len(old) :]
    return name


def _layers(tensors: Mapping[str, Tensor]) -> Iterator[nn.Module]:
    """Layers in their order: a matrix is a linear layer, a vector a normalisation."""
    found = [name.split(".") for name in tensors if name.endswith(".weight")]
    numbers = [p[1] for p in found if len(p) == 3 and p[0] == "linear" and p[1].isdecimal()]
    for number in sorted(numbers, key=int):
        weight, bias = (tensors.get(f"linear.{number}.{part}") for part in ("weight", "bias"))
        if weight is None or bias is None or bias.shape != weight.shape[:1]:
            raise HypernetworkError(f"the bias of its layer {number} is missing or of another size")
        layer: Any
        with torch.device("meta"):
            if weight.ndim == 2:
                layer = nn.Linear(weight.shape[1], weight.shape[0])
            else:
                layer = nn.LayerNorm(weight.shape)
        layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
        yield layer


def _check_widths(layers: Sequence[nn.Module], width: int) -> None:
    here = width
    for layer in layers:
        reads, gives = (
            (layer.in_features, layer.out_features)
            if isinstance(layer, nn.Linear)
            else (layer.normalized_shape[0], here)  # type: ignore[union-attr]
        )
        if reads != here:
            raise HypernetworkError(f"a layer reads {reads} values and is given {here}")
        here = gives
    if not layers or here != width:
        raise HypernetworkError(f"its networks for width {width} give {here} values")


Hook = Any
"""What torch gives for a hook; ``remove()`` takes it out."""


def read_widths(unet: nn.Module) -> tuple[frozenset[int], frozenset[int]]:
    """Widths that the attention layers of a U-Net read: of the prompt, and all."""
    layers = list(_attention(unet))
    text = {to_k.in_features for name, to_k, _ in layers if name.endswith("attn2")}
    return frozenset(text), frozenset(to_k.in_features for _, to_k, _ in layers)


def put_on(unet: nn.Module, worn: Sequence[tuple[Hypernetwork, float]]) -> list[Hook]:
    """Have a U-Net's attention read through hypernetworks, one after the other, in this order.

    Args:
        unet: Its weights stay as they are.
        worn: Each with its strength; moved to where the layers are when they run.
    Returns:
        Hooks; removing them all makes the U-Net what it was.
    Source:
        A1111's definition: every attention layer whose input has a width of the file, those that
        read the picture (``attn1``) as well as those that read the prompt (``attn2``).
    """
    hooks: list[Hook] = []
    for _, *layers in _attention(unet):
        for which, layer in enumerate(layers):
            for network, strength in worn:
                if (pair := network.pairs.get(layer.in_features)) is not None:
                    changed = _changed(pair[which], strength)
                    hooks.append(layer.register_forward_pre_hook(changed))
    return hooks


def _attention(unet: nn.Module) -> Iterator[tuple[str, nn.Linear, nn.Linear]]:
    for name, module in unet.named_modules():
        to_k, to_v = (getattr(module, part, None) for part in ("to_k", "to_v"))
        if isinstance(to_k, nn.Linear) and isinstance(to_v, nn.Linear):
            yield name, to_k, to_v


def _changed(network: nn.Module, strength: float) -> Callable[..., tuple[Tensor]]:
    def hook(_layer: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        (states,) = inputs  # (B, n, width)
        network.to(states.device, states.dtype)  # costs nothing when it is there
        return (states + network(states) * strength,)

    return hook
