"""Previews by small networks: the fitting one is found, and without one people are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from webui.checkpoints.load_preview import DecoderFiles, load_preview_decoder
from webui.errors import CheckpointError
from webui.networks.preview_decoders import APPROX_NN, TAESD, ApproxDecoder
from webui.pipelines.decode import decode, encode
from webui.pipelines.preview import (
    CheapPreview,
    NetworkPreview,
    fitting_network,
    preview_maker,
)

OURS = Path(__file__).resolve().parents[2] / "models" / "VAE-approx"
STARTER_DECODER = OURS / "taesd_starter_decoder.safetensors"


@pytest.fixture(autouse=True)
def _forget(starter: Any) -> Any:
    yield
    starter.extras.pop("previews", None)


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A decoder of the layout, made for no VAE."""
    generator = torch.Generator().manual_seed(5)
    weights = {
        name: torch.randn(tensor.shape, generator=generator) / 12
        for name, tensor in load_file(STARTER_DECODER).items()
    }
    save_file(weights, tmp_path / "taesd_decoder.safetensors")
    return tmp_path / "taesd_decoder.safetensors"


def files(*paths: Path) -> DecoderFiles:
    return DecoderFiles(paths)


def picture() -> Image.Image:
    """Two colours and a disc: more than a colour matrix of 8×8 cells can show."""
    y, x = np.mgrid[:128, :128]
    pixels = np.where((x < 64)[..., None], [230, 60, 50], [60, 90, 220])
    pixels = np.where(((x - 64) ** 2 + (y - 64) ** 2 < 900)[..., None], [250, 220, 60], pixels)
    return Image.fromarray(pixels.astype(np.uint8))


def error(drawn: Image.Image, wanted: Image.Image) -> float:
    return float(np.abs(np.asarray(drawn, float) - np.asarray(wanted, float)).mean())


def test_taesd_when_it_fits_shows_nearly_what_the_vae_shows(starter: Any) -> None:
    latents = encode(starter, [picture()])
    (full,) = decode(starter, latents, lambda told: None)
    maker = preview_maker(starter, "TAESD", files(STARTER_DECODER), pytest.fail)

    (small,), (cheap,) = maker.draw(latents), CheapPreview(starter).draw(latents)

    assert small.size == (128, 128)
    assert error(small, full) < 12 and error(small, full) < 0.7 * error(cheap, full)


def test_network_when_several_lie_there_is_the_one_for_this_vae(
    starter: Any, foreign: Path
) -> None:
    latents = encode(starter, [picture()])
    alone = fitting_network(starter, TAESD, files(STARTER_DECODER))
    among = fitting_network(starter, TAESD, files(foreign, STARTER_DECODER, foreign))

    assert alone is not None and among is not None
    assert torch.equal(among.pixels(latents), alone.pixels(latents))


def test_preview_when_no_network_fits_is_cheap_and_says_why(
    starter: Any, foreign: Path, tmp_path: Path
) -> None:
    (tmp_path / "taesd_encoder.pth").write_bytes(b"not weights")
    told: list[str] = []

    for paths in ([], [tmp_path / "taesd_encoder.pth"], [foreign]):
        assert isinstance(preview_maker(starter, "TAESD", files(*paths), told.append), CheapPreview)
    assert isinstance(
        preview_maker(starter, "Approx NN", files(STARTER_DECODER), told.append), CheapPreview
    )

    assert ["there is none" in text for text in told] == [True, True, False, True]
    assert "none of those there fits" in told[2] and "Approx NN" in told[3]


@pytest.mark.parametrize("method", ["Approx cheap", ""])
def test_preview_when_the_cheap_way_is_wished_opens_no_file(starter: Any, method: str) -> None:
    maker = preview_maker(starter, method, files(Path("/nowhere")), pytest.fail)

    assert isinstance(maker, CheapPreview)


def test_preview_when_asked_again_is_kept_until_the_files_are_others(
    starter: Any, foreign: Path
) -> None:
    first = preview_maker(starter, "TAESD", files(STARTER_DECODER), pytest.fail)

    assert preview_maker(starter, "TAESD", files(STARTER_DECODER), pytest.fail) is first
    assert (
        preview_maker(starter, "TAESD", files(STARTER_DECODER, foreign), pytest.fail) is not first
    )


def test_preview_when_latents_are_large_is_drawn_smaller(starter: Any) -> None:
    maker = fitting_network(starter, TAESD, files(STARTER_DECODER))
    assert maker is not None

    (wide,) = maker.draw(torch.zeros(1, 4, 8, 160))
    assert wide.size == (1024, 48)


def test_approx_nn_when_it_draws_gives_pictures_of_the_full_size(tmp_path: Path) -> None:
    torch.manual_seed(4)
    save_file(ApproxDecoder().state_dict(), tmp_path / "model.safetensors")
    network = NetworkPreview(load_preview_decoder(tmp_path / "model.safetensors"))

    drawn = network.draw(torch.randn(2, 4, 8, 6))

    assert [image.size for image in drawn] == [(48, 64), (48, 64)]


def test_pickled_decoder_when_it_fits_is_found(starter: Any, tmp_path: Path) -> None:
    torch.save(load_file(STARTER_DECODER), tmp_path / "taesd_decoder.pth")

    assert fitting_network(starter, TAESD, files(tmp_path / "taesd_decoder.pth")) is not None
    assert fitting_network(starter, APPROX_NN, files(tmp_path / "taesd_decoder.pth")) is None


def test_decoder_when_damaged_is_an_error_that_names_it(tmp_path: Path) -> None:
    weights = load_file(STARTER_DECODER)
    del weights["12.weight"]
    save_file(weights, tmp_path / "half.safetensors")

    with pytest.raises(CheckpointError, match=r"half.safetensors.*12\.weight"):
        load_preview_decoder(tmp_path / "half.safetensors")
