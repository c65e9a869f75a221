"""A little world of synthetic drawings, so that no test needs the npm package."""

from __future__ import annotations

from pathlib import Path

import pytest

from webui.torch_setup import prepare_torch

prepare_torch()

import torch  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402

from tools.starter.concepts import Concept  # noqa: E402
from tools.starter.drawings import Sprites  # noqa: E402
from tools.starter.networks import (  # noqa: E402
    PROFILES,
    Starter,
    Text,
    build_unet,
    build_vae,
)
from tools.starter.prepare import prepare  # noqa: E402

STAR = Concept("star", ("star", "golden star"), is_core=True)
CAT = Concept("cat-face", ("cat", "kitten"), is_core=True)
GRAPES = Concept("grapes", ("grapes",), is_core=True)


def drawn(shape: str, colour: str) -> Image.Image:
    """One filled shape on nothing."""
    image = Image.new("RGBA", (200, 160))
    box = (10, 10, 190, 150)
    getattr(ImageDraw.Draw(image), shape)(box, fill=colour)
    return image


@pytest.fixture(scope="session")
def sprites() -> Sprites:
    images = {
        STAR.name: drawn("ellipse", "#e03030"),
        CAT.name: drawn("rectangle", "#30a040"),
        GRAPES.name: drawn("ellipse", "#6030c0"),
    }
    return Sprites.of_images([STAR, CAT, GRAPES], images)


@pytest.fixture
def networks() -> Starter:
    """Untrained, small, with a vocabulary of a few hundred words; the same at every call."""
    torch.manual_seed(0)
    profile = PROFILES["tiny"]
    text = Text.fresh(profile, list(range(200, 700)))
    return Starter(build_unet(profile), text, build_vae(profile).eval())


@pytest.fixture(scope="session")
def prepared(sprites: Sprites, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with two shards of eight pictures and four held-out ones."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run")
    vae = build_vae(PROFILES["tiny"]).eval()
    prepare(folder, sprites.concepts, sprites, vae, shards=2, pictures=16)
    return folder
