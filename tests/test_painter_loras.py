"""LoRAs of a job in the model process: files from the message, warnings, recipe, clean models."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.heard import Heard
from webui.torch_setup import prepare_torch

prepare_torch()

from webui.checkpoints.memory import Budget, Bytes  # noqa: E402
from webui.checkpoints.rules import VAE  # noqa: E402
from webui.model_process.painter import Painter  # noqa: E402
from webui.networks.lora.applying import held_bytes  # noqa: E402
from webui.params import TextToImage  # noqa: E402

HEDGEHOG = Path(__file__).parents[1] / "models" / "Lora" / "starter-hedgehog.safetensors"
HASH = "abcdef012345"
FILES = {
    "starter-hedgehog": {"path": str(HEDGEHOG), "hash": HASH},
    "no hash": {"path": str(HEDGEHOG), "hash": None},
    "torn": {"path": str(HEDGEHOG.with_name("README.md")), "hash": None},
    "gone": {"problem": "No LoRA named 'gone'.", "hint": "Put it there."},
}


@pytest.fixture(scope="module")
def painter() -> Painter:
    asked = SimpleNamespace(interrupted=False, should_stop=False, clear_skip=lambda: None)
    return Painter({"device": "cpu"}, Heard(), asked)  # type: ignore[arg-type]


def run(
    painter: Painter, checkpoint: Path, prompt: str, beside: Mapping[str, Any] = {}, **show: Any
) -> dict[str, Any]:
    heard: Any = painter.sender
    heard.messages.clear()
    params = TextToImage(prompt=prompt, width=64, height=64, steps=2, seed=1)
    message = {
        "job": 7, "params": params.to_json(), "vae": None, "preview": {"enabled": False},
        "checkpoint": {
            "path": str(checkpoint), "name": checkpoint.name, "stem": checkpoint.stem,
            "sha256": None, "size": 1,
        },
        "loras": FILES, "infotext": show, **beside,
    }  # fmt: skip
    result = painter.run(message)
    (picture,) = heard.of("image")
    return {
        "pixels": np.asarray(Image.open(io.BytesIO(picture["image"]))),
        "infotext": picture["infotext"], "result": result,
        "warnings": [m["message"] for m in heard.of("warning")],
    }  # fmt: skip


def test_lora_when_named_is_in_the_picture_the_recipe_and_the_facts(
    painter: Painter, starter_checkpoint: Path
) -> None:
    plain = run(painter, starter_checkpoint, "a hedgehog")
    found = run(painter, starter_checkpoint, "a hedgehog <lora:starter-hedgehog:1>")
    after = run(painter, starter_checkpoint, "a hedgehog")

    assert not np.array_equal(plain["pixels"], found["pixels"]) and not found["warnings"]
    assert f'Lora hashes: "starter-hedgehog: {HASH}"' in found["infotext"]
    assert re.search(r'Lora layers: "starter-hedgehog: ([1-9]\d*) of \1"', found["infotext"])
    assert found["result"]["extra_generation_params"]["Lora hashes"] == f"starter-hedgehog: {HASH}"
    assert np.array_equal(plain["pixels"], after["pixels"])


@pytest.fixture(scope="module")
def pickled(starter_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter as a file whose weights are not read again: what LoRAs replace is kept."""
    path = tmp_path_factory.mktemp("pickled") / "starter.ckpt"
    torch.save(load_file(starter_checkpoint), path)
    return path


@pytest.mark.parametrize("is_kept", [False, True])
def test_lora_when_the_next_job_wants_the_same_is_neither_read_nor_merged_again(
    painter: Painter,
    starter_checkpoint: Path,
    pickled: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_kept: bool,
) -> None:
    prompt = "a hedgehog <lora:starter-hedgehog:1>"
    painter.models.unload_all()
    starter_checkpoint = pickled if is_kept else starter_checkpoint
    first = run(painter, starter_checkpoint, prompt)
    worn, file_size = weights_at_work(painter), HEDGEHOG.stat().st_size
    assert held(painter) > 1 << 20 if is_kept else held(painter) == 0
    assert painter.models.memory.used == Bytes(the_model(painter).nbytes, held(painter) + file_size)

    with monkeypatch.context() as patch:
        patch.setattr("webui.model_process.loaded_models.read_lora", None)
        patch.setattr("webui.networks.lora.applying._change", None)
        again = run(painter, starter_checkpoint, prompt)
        assert weights_at_work(painter) == worn
    other = run(painter, starter_checkpoint, "a hedgehog <lora:starter-hedgehog:0.5>")
    back = run(painter, starter_checkpoint, prompt)

    assert np.array_equal(first["pixels"], again["pixels"])
    assert np.array_equal(first["pixels"], back["pixels"])
    assert not np.array_equal(first["pixels"], other["pixels"])


def test_lora_when_memory_is_short_comes_off_and_goes_on_again(
    painter: Painter, pickled: Path
) -> None:
    prompt = "a hedgehog <lora:starter-hedgehog:1>"
    painter.models.unload_all()  # what other tests loaded would go first
    first = run(painter, pickled, prompt)
    memory = painter.models.memory
    memory.needs(())
    memory.budget = Budget(device=memory.used.device + held(painter) - 1)
    memory.settle()
    assert held(painter) == 0 and len(memory.values("checkpoint")) == 1

    assert np.array_equal(run(painter, pickled, prompt)["pixels"], first["pixels"])


@pytest.fixture(scope="module")
def beside(starter_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A VAE of its own and a hypernetwork, as a job's message names them."""
    folder = tmp_path_factory.mktemp("beside")
    vae, hypernetwork = folder / "dim.vae.safetensors", folder / "oil.pt"
    tensors = load_file(starter_checkpoint).items()
    save_file({n.removeprefix(VAE): t * 0.9 for n, t in tensors if n.startswith(VAE)}, vae)
    pair = {"linear.0.weight": torch.eye(128) * 3, "linear.0.bias": torch.zeros(128)}
    torch.save({128: (pair, pair), "layer_structure": [1, 1]}, hypernetwork)
    return {
        "vae": {"path": str(vae), "name": vae.name, "sha256": None, "size": 1},
        "hypernetworks": {"oil": {"path": str(hypernetwork), "hash": None}},
    }


@pytest.mark.parametrize("tag", ["<lora:starter-hedgehog:1>", "<lora:starter-hedgehog:1:0>"])
def test_lora_beside_another_vae_and_a_hypernetwork_leaves_both_and_the_model_as_they_were(
    painter: Painter, starter_checkpoint: Path, pickled: Path, beside: dict[str, Any], tag: str
) -> None:
    prompt = "a hedgehog <hypernet:oil:0.5>"
    alone = run(painter, starter_checkpoint, "a hedgehog")
    plain = run(painter, starter_checkpoint, prompt, beside)
    worn = run(painter, starter_checkpoint, f"{prompt} {tag}", beside)
    own_vae = run(painter, starter_checkpoint, f"{prompt} {tag}", {**beside, "vae": None})
    after = run(painter, starter_checkpoint, prompt, beside)
    kept = run(painter, pickled, f"{prompt} {tag}", beside)

    pictures = [alone, plain, worn, own_vae]
    assert not any(found["warnings"] for found in (*pictures, after, kept))
    assert len({found["pixels"].tobytes() for found in pictures}) == 4
    assert np.array_equal(after["pixels"], plain["pixels"])
    assert np.array_equal(kept["pixels"], worn["pixels"])
    assert np.array_equal(run(painter, starter_checkpoint, "a hedgehog")["pixels"], alone["pixels"])


def test_lora_on_a_checkpoint_with_a_vae_baked_in_is_that_of_the_same_vae_chosen(
    painter: Painter, starter_checkpoint: Path, tmp_path: Path, beside: dict[str, Any]
) -> None:
    chosen = {"vae": beside["vae"]}
    baked = tmp_path / "baked.safetensors"
    own = load_file(starter_checkpoint)
    save_file({n: t * 0.9 if n.startswith(VAE) else t for n, t in own.items()}, baked)
    for prompt in ("a hedgehog <lora:starter-hedgehog:1>", "a hedgehog"):
        found = run(painter, baked, prompt)
        assert held(painter) == 0
        wanted = run(painter, starter_checkpoint, prompt, chosen)
        assert np.array_equal(found["pixels"], wanted["pixels"])


def the_model(painter: Painter) -> Any:
    return painter.models.memory.values("checkpoint")[-1]


def weights_at_work(painter: Painter) -> list[int]:
    """Stands for the tensors that are in the U-Net now."""
    layers = the_model(painter).unet.modules()
    return [id(x.__dict__.get("_packed", x._parameters.get("weight"))) for x in layers]


def held(painter: Painter) -> int:
    model = the_model(painter)
    return held_bytes(model.unet) + held_bytes(model.text_encoder)


def test_hashes_when_the_option_is_off_are_not_told(
    painter: Painter, starter_checkpoint: Path
) -> None:
    prompt = "a hedgehog <lora:starter-hedgehog:1>"
    found = run(painter, starter_checkpoint, prompt, lora_hashes=False)

    assert "Lora" not in found["infotext"].partition("\n")[2]


def test_loras_when_they_cannot_be_used_are_told_about_and_the_picture_is_painted(
    painter: Painter, starter_checkpoint: Path
) -> None:
    prompt = "a hedgehog <lora:gone:1><lora:torn:1>"
    found = run(painter, starter_checkpoint, prompt)

    assert len(found["warnings"]) == 2
    assert "No LoRA named 'gone'. Put it there." in found["warnings"][0]
    assert "<lora:torn>" in found["warnings"][1]
    assert prompt in found["infotext"]
