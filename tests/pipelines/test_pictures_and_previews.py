"""From latents to pictures: rounding, broken half precision, previews, networks that wait."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from webui.pipelines.decode import VaeWork, decode, encode, to_image
from webui.pipelines.placement import on_device, put_aside
from webui.pipelines.preview import CheapPreview, side_by_side


def test_to_image_when_between_two_values_cuts_off() -> None:
    pixels = torch.tensor([0.999, 1.0, -1.0, 0.0, 5.0, float("nan")]).view(1, 1, 6).repeat(3, 1, 1)

    values = np.asarray(to_image(pixels))[0, :, 0]

    assert values.tolist() == [254, 255, 0, 127, 255, 0]


def test_decode_when_half_precision_breaks_is_repeated_in_float32() -> None:
    vae = BrokenInHalf()
    model = SimpleNamespace(vae=vae, device=torch.device("cpu"), scaling_factor=0.18215, extras={})
    warnings: list[str] = []

    (image,) = decode(model, torch.zeros(1, 4, 2, 2), warnings.append)  # type: ignore[arg-type]

    assert np.asarray(image).min() == np.asarray(image).max() == 255
    assert len(warnings) == 1 and "float32" in warnings[0]
    assert vae.dtype == torch.float32


def test_encode_when_half_precision_breaks_is_repeated_in_float32() -> None:
    vae = BrokenInHalf()
    model = SimpleNamespace(vae=vae, device=torch.device("cpu"), scaling_factor=0.5, extras={})
    warnings: list[str] = []
    pictures = [Image.new("RGB", (16, 16))] * 2

    latents = encode(model, pictures, VaeWork(warnings.append))  # type: ignore[arg-type]

    assert latents.dtype == torch.float32
    assert torch.equal(latents, torch.full((2, 4, 2, 2), 0.5))
    assert len(warnings) == 1 and vae.dtype == torch.float32


class BrokenInHalf:
    """A VAE that gives NaN unless it runs in float32."""

    config = {"block_out_channels": (8, 8)}

    def __init__(self) -> None:
        self.dtype = torch.float16

    def to(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def decode(self, latents: torch.Tensor, return_dict: bool) -> tuple[torch.Tensor]:
        assert latents.dtype == self.dtype
        value = 1.0 if self.dtype == torch.float32 else float("nan")
        return (torch.full((1, 3, 16, 16), value, dtype=self.dtype),)

    def encode(self, pixels: torch.Tensor, return_dict: bool) -> tuple[SimpleNamespace]:
        assert pixels.dtype == self.dtype
        value = 1.0 if self.dtype == torch.float32 else float("nan")
        return (SimpleNamespace(mean=torch.full((1, 4, 2, 2), value, dtype=self.dtype)),)


def test_preview_when_fitted_shows_the_colours_of_the_picture(starter: Any) -> None:
    colours = torch.tensor(
        [[0.9, -0.8, -0.8], [-0.8, 0.7, -0.6], [-0.7, -0.7, 0.9], [0.9, 0.8, 0.1]]
    )
    flat = [to_image(c.view(3, 1, 1).expand(3, 64, 64)) for c in colours]
    latents = encode(starter, flat)

    previews = CheapPreview(starter).draw(latents)

    for preview, wanted in zip(previews, flat, strict=True):
        centre = np.asarray(preview, dtype=int)[16:48, 16:48].mean(axis=(0, 1))
        assert np.abs(centre - np.asarray(wanted, dtype=int)[0, 0]).max() < 60


def test_previews_when_several_lie_in_one_sheet(starter: Any) -> None:
    previews = CheapPreview(starter).draw(torch.zeros(3, 4, 8, 8))

    assert previews[0].size == (64, 64)
    assert side_by_side(previews).size == (128, 128)


def test_encode_when_decoded_gives_the_picture_back(starter: Any) -> None:
    wanted = to_image(torch.tensor([0.8, 0.6, -0.8]).view(3, 1, 1).expand(3, 128, 128))

    (again,) = decode(starter, encode(starter, [wanted]), lambda message: None)

    difference = np.abs(np.asarray(again, dtype=int) - np.asarray(wanted, dtype=int))
    assert difference.mean() < 12


class Moving(torch.nn.Module):
    """Remembers where it was moved; its one weight says it waits elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1, device="meta"))
        self.moves: list[str] = []

    def to(self, device: Any) -> Moving:  # type: ignore[override]
        self.moves.append(str(device))
        return self


def test_network_when_it_waits_outside_comes_for_its_turn_and_goes_back() -> None:
    network = Moving()

    with pytest.raises(ValueError), on_device(network, torch.device("cuda:0")):
        assert network.moves == ["cuda:0"]
        raise ValueError

    assert network.moves == ["cuda:0", "meta"]


@pytest.mark.parametrize(
    "plan, waiting",
    [
        ({"medvram": False, "lowvram": False}, []),
        ({"medvram": True, "lowvram": False}, ["text_encoder", "vae"]),
        ({"medvram": False, "lowvram": True}, ["text_encoder", "vae", "unet"]),
    ],
)
def test_put_aside_when_memory_is_small_moves_what_can_wait(
    plan: dict[str, bool], waiting: list[str]
) -> None:
    parts = {name: Moving() for name in ("text_encoder", "vae", "unet")}
    model = SimpleNamespace(device="cuda:0", parts=parts)

    put_aside(model, **plan)  # type: ignore[arg-type]

    assert [name for name, part in parts.items() if part.moves] == waiting
