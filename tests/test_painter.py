"""What a job says on its way: previews as wished, pictures with recipes, facts at the end."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import shutil
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.checkpoints.stripped import read_stripped
from tests.describing.small_describers import write_tagger
from tests.heard import Heard
from webui import PROGRAM_VERSION
from webui.checkpoints.rules import VAE
from webui.errors import ModelTooLargeError, UnknownArchitectureError
from webui.torch_setup import prepare_torch

prepare_torch()

from tests.restoration.test_faces import Found, Inverted, face_at  # noqa: E402
from webui.checkpoints.memory import Machine  # noqa: E402
from webui.model_process import loaded_models  # noqa: E402
from webui.model_process.loaded_models import LoadedModels, ModelPlan  # noqa: E402
from webui.model_process.painter import Painter  # noqa: E402
from webui.model_process.restorer import JobWeights  # noqa: E402
from webui.params import FaceRestoration, Output, Refiner, TextToImage, build  # noqa: E402
from webui.pictures import read_infotext  # noqa: E402

SETTINGS = {"device": "cpu"}


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def painter(heard: Heard) -> Painter:
    asked = SimpleNamespace(interrupted=False, should_stop=False, clear_skip=lambda: None)
    return Painter(SETTINGS, heard, asked)  # type: ignore[arg-type]


def run(
    painter: Painter,
    heard: Heard,
    checkpoint: Path,
    preview: dict[str, Any],
    vae: dict[str, Any] | None = None,
    **values: Any,
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
        "vae": vae,
        "preview": preview,
    }  # fmt: skip
    return painter.run(message)


@pytest.mark.parametrize("preview", [{}, {"method": "Full"}, {"format": "png"}, {"format": "exe"}])
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
    assert picture["facts"]["made_on"]["program"] == PROGRAM_VERSION
    run(painter, heard, starter_checkpoint, {}, output=Output(format="png"), seed=5)
    (again,) = heard.of("image")
    assert again["facts"] == picture["facts"]  # the pixels before compression, and what made them
    with Image.open(io.BytesIO(again["image"])) as image:
        assert hashlib.sha256(image.tobytes()).hexdigest() == again["facts"]["pixels"]


def test_loops_when_they_ask_a_tagger_are_painted_and_told_with_its_words(
    painter: Painter, heard: Heard, starter_checkpoint: Path, tmp_path: Path
) -> None:
    heard.messages.clear()
    key, red = "a" * 64, tmp_path / "red.png"
    Image.new("RGB", (64, 64), "red").save(red)
    loops = {"loops": 1, "interrogation": "DeepBooru"}
    size = {"width": 64, "height": 64, "steps": 2, "seed": 5}
    params = build("img2img", {**size, "prompt": "a cat", "init_images": (key,), "loopback": loops})
    message = {
        "job": 8, "params": params.to_json(), "vae": None, "inputs": {key: str(red)},
        "checkpoint": facts(starter_checkpoint, "ab" * 32), "preview": {"enabled": False},
    }  # fmt: skip
    tagger = {"kind": "tagger", "folder": str(write_tagger(tmp_path / "tagger"))}

    painter.run({**message, "describer": tagger})
    painter.run(message)

    told, plain = (m["infotext"].splitlines()[0] for m in heard.of("image"))
    assert told == "a cat, red coat, ^_^" and plain == "a cat"


def test_model_when_used_again_is_the_one_in_memory(
    painter: Painter, heard: Heard, starter_checkpoint: Path
) -> None:
    painter.unload()
    run(painter, heard, starter_checkpoint, {})
    first = [m["stage"] for m in heard.of("progress")]
    run(painter, heard, starter_checkpoint, {})

    assert "loading" in first
    assert "loading" not in [m["stage"] for m in heard.of("progress")]


@pytest.mark.parametrize("has_weights", [True, False])
def test_faces_when_wished_are_restored_or_the_job_says_why_not(
    painter: Painter, heard: Heard, starter_checkpoint: Path, monkeypatch: pytest.MonkeyPatch,
    has_weights: bool,
) -> None:  # fmt: skip
    if has_weights:
        face = Found(64, [face_at(32, 32, 40)])
        monkeypatch.setattr(JobWeights, "restorer", lambda weights, name, weight: Inverted())
        monkeypatch.setattr(JobWeights, "detector", lambda weights: face)
    run(painter, heard, starter_checkpoint, {})
    plain = np.asarray(Image.open(io.BytesIO(heard.of("image")[0]["image"]))).astype(int)

    wish = FaceRestoration(model="GFPGAN")
    result = run(painter, heard, starter_checkpoint, {}, restore_faces=wish)

    (picture,), warnings = heard.of("image"), [m["message"] for m in heard.of("warning")]
    image = np.asarray(Image.open(io.BytesIO(picture["image"]))).astype(int)
    assert (image[32, 32] == 255 - plain[32, 32]).all() == has_weights
    assert (image[0, 0] == plain[0, 0]).all()
    assert ("Face restoration: GFPGAN" in picture["infotext"]) == has_weights
    assert result["face_restoration_model"] == ("GFPGAN" if has_weights else None)
    if not has_weights:
        assert "GFPGANv1.4.pth" in warnings[0] and (image == plain).all()


def facts(path: Path, sha256: str) -> dict[str, Any]:
    return {
        "path": str(path), "name": path.name, "stem": path.stem, "sha256": sha256, "size": 1,
    }  # fmt: skip


def run_two(
    painter: Painter, heard: Heard, checkpoint: Path, other: Path, **values: Any
) -> dict[str, Any]:
    """A job whose refiner is another file."""
    heard.messages.clear()
    refiner = Refiner(checkpoint=other.name, switch_at=0.5)
    params = TextToImage(
        prompt="a cat", width=64, height=64, steps=3, checkpoint=checkpoint.name, refiner=refiner,
        **values,
    )  # fmt: skip
    message = {
        "job": 7,
        "params": params.to_json(),
        "checkpoint": facts(checkpoint, "ab" * 32),
        "vae": None,
        "others": {other.name: {"checkpoint": facts(other, "cd" * 32), "vae": None}},
    }
    return painter.run(message)


@pytest.fixture
def other_checkpoint(tmp_path: Path, starter_checkpoint: Path) -> Path:
    return Path(shutil.copy(starter_checkpoint, tmp_path / "refined.safetensors"))


@pytest.mark.parametrize(("free_bytes", "loads"), [(1 << 40, 2), (0, 4)])
def test_refiner_when_asked_is_loaded_once_or_swapped_once_a_batch_and_named_in_the_recipe(
    painter: Painter,
    heard: Heard,
    starter_checkpoint: Path,
    other_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    free_bytes: int,
    loads: int,
) -> None:
    painter.unload()
    machine = Machine(free_ram=lambda: free_bytes)
    monkeypatch.setattr(painter.models.memory, "machine", machine)

    result = run_two(painter, heard, starter_checkpoint, other_checkpoint, batch_count=2)

    assert [m["stage"] for m in heard.of("progress")].count("loading") == loads
    first, second = heard.of("image")
    assert "Refiner: refined [cdcdcdcdcd], Refiner switch at: 0.5" in first["infotext"]
    assert result["extra_generation_params"]["Refiner"] == "refined [cdcdcdcdcd]"
    assert heard.of("preview") and first["image"] != second["image"]


def test_refiner_when_it_is_of_another_kind_is_refused_before_anything_is_loaded(
    painter: Painter, heard: Heard, starter_checkpoint: Path, tmp_path: Path
) -> None:
    painter.unload()
    name = "model.diffusion_model.input_blocks.0.0.weight"
    big = tmp_path / "big.safetensors"
    entries = {
        key: {"dtype": "F16", "shape": list(info.shape), "data_offsets": [0, 0]}
        for key, info in read_stripped("sdxl").tensors.items()
    }
    assert name in entries
    end = 0
    for entry in entries.values():
        size = 2 * math.prod(entry["shape"])  # type: ignore[arg-type]
        entry["data_offsets"] = [end, end + size]
        end += size
    text = json.dumps(entries).encode()
    big.write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(big, 8 + len(text) + end)  # a hole: no disk is used

    with pytest.raises(UnknownArchitectureError, match=r"with big: .*SDXL"):
        run_two(painter, heard, starter_checkpoint, big)
    assert heard.of("progress") == []


def test_model_when_the_device_cannot_hold_it_whole_is_told_of_beside_the_first_picture(
    painter: Painter, heard: Heard, starter_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = loaded_models.load_checkpoint

    def load(path: Path, **options: Any) -> Any:
        if options["home"] is None:
            raise ModelTooLargeError("It does not fit.")
        return real(path, **options)

    monkeypatch.setattr(loaded_models, "load_checkpoint", load)
    heard.messages.clear()
    wanted = {"checkpoint": {"path": str(starter_checkpoint)}, "vae": None}
    for is_low, jobs in ((True, ()), (False, (1, 2))):
        plan = ModelPlan(torch.device("meta"), torch.float16, torch.float16, lowvram=is_low)
        monkeypatch.setattr(painter, "models", LoadedModels(plan))
        painter.models.begin([wanted], {})
        painter.models.get(wanted)  # chosen before a job asks for it
        for job in jobs:
            painter.model(job, wanted)

    (told,) = heard.of("warning")  # nothing of what was asked for by a flag
    assert told["job"] == 1 and "take turns" in told["message"]


def test_preview_when_its_network_is_missing_is_told_in_the_first_job_only(
    painter: Painter, heard: Heard, starter_checkpoint: Path
) -> None:
    told = []
    for _ in range(2):
        run(painter, heard, starter_checkpoint, {"method": "TAESD", "decoders": []})
        told.append([m["message"] for m in heard.of("warning")])
        assert heard.of("preview")

    assert len(told[0]) == 1 and "models/VAE-approx" in told[0][0] and told[1] == []


def test_previews_when_they_are_slow_leave_painting_most_of_the_time(
    painter: Painter, heard: Heard, starter_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: Any) -> list[Image.Image]:
        clock[0] += 2.0
        return [Image.new("RGB", (8, 8))]

    clock = [100.0]  # seconds; a step takes one more, a preview two
    progress = heard.send

    def told(message: dict[str, Any]) -> None:
        clock[0] += message["type"] == "progress" and message["stage"] == "sampling"
        progress(message)

    monkeypatch.setattr("webui.model_process.job_listener.decode", slow)
    monkeypatch.setattr("webui.model_process.job_listener.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(heard, "send", told)
    run(painter, heard, starter_checkpoint, {"method": "Full"}, steps=20)

    assert len(heard.of("preview")) == 3  # at steps 1, 9 and 17: two seconds, then eight without


def test_vae_when_another_is_chosen_draws_the_picture_and_is_named(
    painter: Painter, heard: Heard, starter_checkpoint: Path, tmp_path: Path
) -> None:
    tensors = {
        name.removeprefix(VAE): tensor
        for name, tensor in load_file(starter_checkpoint).items()
        if name.startswith(VAE)
    }
    tensors["decoder.conv_out.bias"] = tensors["decoder.conv_out.bias"] + 0.5
    save_file(tensors, tmp_path / "brighter.vae.safetensors")
    run(painter, heard, starter_checkpoint, {"enabled": False})
    own = heard.of("image")[0]
    vae = {"path": str(tmp_path / "brighter.vae.safetensors"), "sha256": "cd" * 32}
    run(painter, heard, starter_checkpoint, {"enabled": False}, vae=vae)
    other = heard.of("image")[0]

    shades = [np.asarray(Image.open(io.BytesIO(p["image"]))).mean() for p in (own, other)]
    assert shades[1] > shades[0] + 20
    assert "VAE" not in own["infotext"]
    assert "VAE hash: cdcdcdcdcd, VAE: brighter.vae.safetensors" in other["infotext"]


def test_checkpoint_when_loaded_before_a_job_is_not_loaded_by_it(
    painter: Painter, heard: Heard, starter_checkpoint: Path
) -> None:
    painter.unload()
    painter.load(
        {
            "checkpoint": facts(starter_checkpoint, "ab" * 32), "vae": None, "memory": {},
            "fp8_storage": "Disable", "cache_fp16_weight": False,
        }
    )  # fmt: skip
    run(painter, heard, starter_checkpoint, {"enabled": False})
    assert "loading" not in [m["stage"] for m in heard.of("progress")]


def test_picture_when_no_half_is_wished_is_calculated_in_float32(
    painter: Painter, heard: Heard, starter_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    begin = painter.models.begin

    def noted(*args: Any, no_half: bool, **options: Any) -> None:
        asked.append(no_half)
        begin(*args, no_half=no_half, **options)

    monkeypatch.setattr(painter.models, "begin", noted)
    for no_half in (True, False):
        run(painter, heard, starter_checkpoint, {"enabled": False}, no_half=no_half, steps=1)
    assert asked == [True, False]


def test_weights_when_stored_small_make_a_picture_that_is_close_and_says_so(
    painter: Painter, heard: Heard, starter_checkpoint: Path
) -> None:
    shown = []
    for storage, seed in (("Disable", 4), ("Disable", 3), ("Enable for SDXL", 3), ("Enable", 3)):
        wish = {"fp8_storage": storage, "seed": seed, "steps": 8, "prompt": "a red apple"}
        wish |= {"width": 128, "height": 128, "cfg_scale": 5}
        run(painter, heard, starter_checkpoint, {"enabled": False}, **wish)
        (picture,) = heard.of("image")
        pixels = np.asarray(Image.open(io.BytesIO(picture["image"]))).astype(int)
        shown.append((pixels, picture["infotext"]))
    (other_seed, _), (plain, _), (other, other_text), (small, text) = shown
    assert (plain == other).all() and "FP8" not in other_text
    assert 0 < np.abs(plain - small).mean() < np.abs(plain - other_seed).mean() / 4
    assert "Model: starter-emoji, FP8 weight: Enable, Cache FP16 weight for LoRA: False" in text
