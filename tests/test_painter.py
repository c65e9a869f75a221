"""What a job says on its way: previews as wished, pictures with recipes, facts at the end."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from webui.torch_setup import prepare_torch

prepare_torch()

from webui.painter import Painter  # noqa: E402
from webui.params import Output, TextToImage  # noqa: E402
from webui.pictures import read_infotext  # noqa: E402

SETTINGS = {"device": "cpu"}


class Heard:
    """Stands where the wire is; keeps the messages."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        self.messages.append(message)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [m for m in self.messages if m["type"] == kind]


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def painter(heard: Heard) -> Painter:
    asked = SimpleNamespace(interrupted=False, should_stop=False, clear_skip=lambda: None)
    return Painter(SETTINGS, heard, asked)  # type: ignore[arg-type]


def run(
    painter: Painter, heard: Heard, checkpoint: Path, preview: dict[str, Any], **values: Any
) -> dict[str, Any]:
    heard.messages.clear()
    params = TextToImage(**{"prompt": "a cat", "width": 64, "height": 64, "steps": 3, **values})
    message = {
        "job": 7,
        "params": params.to_json(),
        "checkpoint": {
            "path": str(checkpoint), "name": checkpoint.name, "stem": checkpoint.stem,
            "sha256": "ab" * 32, "size": 1,
        },
        "vae": None,
        "preview": preview,
    }  # fmt: skip
    return painter.run(message)


@pytest.mark.parametrize("preview", [{}, {"full": True}, {"format": "png"}, {"format": "exe"}])
def test_preview_when_wished_is_a_picture(
    painter: Painter, heard: Heard, starter_checkpoint: Path, preview: dict[str, Any]
) -> None:
    run(painter, heard, starter_checkpoint, preview)

    shown = heard.of("preview")
    assert shown and all(m["job"] == 7 for m in shown)
    assert Image.open(io.BytesIO(shown[0]["image"])).size == (64, 64)


@pytest.mark.parametrize("preview", [{"enabled": False}, {"every_n_steps": -1}])
def test_preview_when_not_wished_is_not_made(
    painter: Painter, heard: Heard, starter_checkpoint: Path, preview: dict[str, Any]
) -> None:
    run(painter, heard, starter_checkpoint, preview)

    assert heard.of("preview") == []


def test_preview_of_a_batch_when_the_grid_is_off_shows_one_picture(
    painter: Painter, heard: Heard, starter_checkpoint: Path
) -> None:
    run(painter, heard, starter_checkpoint, {"grid": False}, batch_size=2)
    alone = Image.open(io.BytesIO(heard.of("preview")[0]["image"])).size
    run(painter, heard, starter_checkpoint, {}, batch_size=2)
    together = Image.open(io.BytesIO(heard.of("preview")[0]["image"])).size

    assert (alone, together) == ((64, 64), (128, 64))


def test_pictures_when_done_carry_their_recipe_and_the_job_its_facts(
    painter: Painter, heard: Heard, starter_checkpoint: Path
) -> None:
    result = run(painter, heard, starter_checkpoint, {}, output=Output(format="webp"), seed=5)

    (picture,) = heard.of("image")
    infotext, _ = read_infotext(picture["image"])
    assert infotext == picture["infotext"] and "Seed: 5" in infotext
    assert "Model hash: abababab" in infotext
    assert result["sd_model_name"] == "starter-emoji" and not result["interrupted"]


def test_model_when_used_again_is_the_one_in_memory(
    painter: Painter, heard: Heard, starter_checkpoint: Path
) -> None:
    painter.unload()
    run(painter, heard, starter_checkpoint, {})
    first = [m["stage"] for m in heard.of("progress")]
    run(painter, heard, starter_checkpoint, {})

    assert "loading" in first
    assert "loading" not in [m["stage"] for m in heard.of("progress")]
