"""Hypernetworks of a job in the model process: files from the message, recipe, clean models."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from tests.heard import Heard
from tests.test_painter import SETTINGS
from webui.model_process.painter import Painter
from webui.params import TextToImage


def test_hypernetwork_when_named_is_in_the_picture_and_the_recipe_and_gone_after_the_job(
    starter_checkpoint: Path, tmp_path: Path
) -> None:
    weights = {"linear.0.weight": torch.eye(128) * 3, "linear.0.bias": torch.zeros(128)}
    torch.save({128: (weights, weights), "layer_structure": [1, 1]}, tmp_path / "oil.pt")
    heard = Heard()
    asked = SimpleNamespace(interrupted=False, should_stop=False, clear_skip=lambda: None)
    painter = Painter(SETTINGS, heard, asked)  # type: ignore[arg-type]

    def picture(prompt: str) -> dict[str, object]:
        heard.messages.clear()
        params = TextToImage(prompt=prompt, width=64, height=64, steps=2, seed=1)
        checkpoint = {
            "path": str(starter_checkpoint), "name": "s", "stem": "s", "sha256": None, "size": 1,
        }  # fmt: skip
        files = {"oil": {"path": str(tmp_path / "oil.pt"), "hash": "abc"}, "gone": {"problem": "?"}}
        message = {
            "job": 7, "params": params.to_json(), "checkpoint": checkpoint, "vae": None,
            "preview": {"enabled": False}, "hypernetworks": files,
        }  # fmt: skip
        painter.run(message)
        (found,) = heard.of("image")
        return found

    before, found, after = map(picture, ("a cat", "a cat <hypernet:oil:0.5>", "a cat"))

    assert before["image"] == after["image"]
    assert 'Hypernet hashes: "oil: abc"' in str(found["infotext"])
    assert "<hypernet:oil:0.5>" in str(found["infotext"])
    pixels = [np.asarray(Image.open(io.BytesIO(p["image"]))) for p in (before, found)]  # type: ignore[arg-type]
    assert not np.array_equal(*pixels) and not heard.of("warning")
