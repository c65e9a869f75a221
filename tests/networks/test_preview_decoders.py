"""Preview networks against the published layouts, written out a second time in plain torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from webui.networks.preview_decoders import (
    APPROX_NN,
    TAESD,
    build_decoder,
    decoder_layout,
    decoder_name,
)


class Block(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(n, n, 3, padding=1) for _ in range(3)]
        self.conv = nn.Sequential(
            convolutions[0], nn.ReLU(), convolutions[1], nn.ReLU(), convolutions[2]
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x) + x)


class Clamp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


def taesd(width: int, channels: int = 4) -> nn.Sequential:
    """TAESD's decoder as a sequence, whose places are the keys of its files."""
    layers: list[nn.Module] = [Clamp(), nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
    for _ in range(3):
        layers += [Block(width), Block(width), Block(width), nn.Upsample(scale_factor=2)]
        layers.append(nn.Conv2d(width, width, 3, padding=1, bias=False))
    return nn.Sequential(*layers, Block(width), nn.Conv2d(width, 3, 3, padding=1))


@pytest.mark.parametrize(("width", "channels"), [(16, 4), (64, 4), (8, 16)])
def test_taesd_when_built_from_its_weights_draws_what_the_sequence_draws(
    width: int, channels: int
) -> None:
    torch.manual_seed(width)
    wanted, latents = taesd(width, channels), 2 * torch.randn(2, channels, 5, 7)

    weights = wanted.state_dict()
    found = build_decoder(weights)(latents)

    assert decoder_layout(weights) == TAESD and found.shape == (2, 3, 40, 56)
    assert torch.allclose(found, wanted(latents) * 2 - 1, atol=1e-5)


def test_taesd_when_named_as_diffusers_does_is_the_same() -> None:
    torch.manual_seed(1)
    wanted, latents = taesd(8), torch.randn(1, 4, 4, 4)
    names = {}
    for name, tensor in wanted.state_dict().items():
        place, _, rest = name.partition(".")
        names[f"decoder.layers.{int(place) - 1}.{rest}"] = tensor
    names["encoder.layers.0.weight"] = torch.ones(1)

    assert torch.equal(build_decoder(names)(latents), build_decoder(wanted.state_dict())(latents))
    assert decoder_name("decoder.layers.17.conv.0.bias") == "18.conv.0.bias"


def test_taesd_when_built_as_diffusers_builds_it_draws_the_same() -> None:
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    torch.manual_seed(2)
    theirs = AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8)
    ).eval()
    latents = torch.randn(1, 4, 6, 6)

    found = build_decoder(theirs.state_dict())(latents)

    assert torch.allclose(found, theirs.decode(latents).sample, atol=1e-5)


def test_approx_nn_when_built_from_its_weights_draws_what_its_layers_draw() -> None:
    torch.manual_seed(3)
    kernels, sizes = (7, 5, 3, 3, 3, 3, 3, 3), (4, 8, 16, 32, 64, 32, 16, 8, 3)
    layers = [nn.Conv2d(sizes[i], sizes[i + 1], kernels[i]) for i in range(8)]
    weights = {
        f"conv{i + 1}.{name}": tensor
        for i, layer in enumerate(layers)
        for name, tensor in layer.state_dict().items()
    }
    latents = torch.randn(2, 4, 5, 6)
    wanted = nn.functional.pad(latents.repeat_interleave(2, 2).repeat_interleave(2, 3), (11,) * 4)
    for layer in layers:
        wanted = nn.functional.leaky_relu(layer(wanted), 0.1)

    found = build_decoder(weights)(latents)

    assert decoder_layout(weights) == APPROX_NN and found.shape == (2, 3, 10, 12)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_layout_when_the_weights_are_others_is_none() -> None:
    encoder = {"0.weight", "1.conv.0.weight", "2.weight", "14.weight"}

    assert decoder_layout(encoder) == "" and decoder_layout(["conv1.weight"]) == ""
    with pytest.raises(ValueError, match="no preview decoder"):
        build_decoder({"0.weight": torch.ones(1)})


@pytest.mark.parametrize("name", ["10.conv.2.bias", "12.weight", "19.bias"])
def test_taesd_when_a_tensor_is_missing_or_of_another_shape_is_refused(name: str) -> None:
    weights = taesd(8).state_dict()
    without = {key: tensor for key, tensor in weights.items() if key != name}

    for broken in (without, {**weights, name: torch.ones(5)}):
        with pytest.raises(ValueError, match=name):
            build_decoder(broken)
