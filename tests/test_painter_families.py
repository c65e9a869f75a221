"""A job of the model process with SDXL and its refiner."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image

from webui.torch_setup import prepare_torch

prepare_torch()

from tests.checkpoints.small_families import make, single_file  # noqa: E402
from tests.heard import Heard  # noqa: E402
from tests.test_painter import SETTINGS, facts  # noqa: E402
from webui.model_process.painter import Painter  # noqa: E402
from webui.params import Refiner, TextToImage  # noqa: E402


def test_job_with_sdxl_and_its_refiner_gives_previews_a_picture_and_its_recipe(
    tmp_path: Path,
) -> None:
    first, second = (
        single_file(make(family), tmp_path / f"{family}.safetensors")
        for family in ("sdxl", "sdxl-refiner")
    )
    params = TextToImage(
        prompt="a (red:1.3) fox", width=64, height=64, steps=4, sampler="Euler a", clip_skip=2,
        checkpoint=first.name, refiner=Refiner(checkpoint=second.name, switch_at=0.5),
    )  # fmt: skip
    asked: Any = SimpleNamespace(interrupted=False, should_stop=False, clear_skip=lambda: None)
    heard: Any = Heard()

    result = Painter(SETTINGS, heard, asked).run({
        "job": 1, "params": params.to_json(), "checkpoint": facts(first, "ab" * 32),
        "vae": None, "preview": {},
        "others": {second.name: {"checkpoint": facts(second, "cd" * 32), "vae": None}},
    })  # fmt: skip

    (picture,) = heard.of("image")
    assert Image.open(io.BytesIO(picture["image"])).size == (64, 64)
    assert "Model hash: ababababab, Model: sdxl, Clip skip: 2" in picture["infotext"]
    assert "Refiner: sdxl-refiner [cdcdcdcdcd], Refiner switch at: 0.5" in picture["infotext"]
    assert heard.of("preview") and heard.of("warning") == []
    assert result["sd_model_name"] == "sdxl"
