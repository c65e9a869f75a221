"""Folders of A1111, ComfyUI and lora-scripts, used where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checkpoints.model_files import TINY_HEADER, SomeFolders, write_raw
from webui.checkpoints.catalog import Catalog
from webui.checkpoints.other_programs import roots_of, roots_of_all
from webui.errors import SettingsError
from webui.settings import read_settings

COMFY = """
a1111:
    base_path: {base}
    checkpoints: models/Stable-diffusion
    configs: models/Stable-diffusion
    vae: models/VAE
    loras: |
         models/Lora
         models/LyCORIS
    upscale_models: |
                  models/ESRGAN
                  models/SwinIR
    embeddings: embeddings
    hypernetworks: models/hypernetworks
    controlnet: models/ControlNet
comfyui:
    is_default: true
    checkpoints: mine/checkpoints/
    text_encoders:
    clip_vision: mine/clip_vision/
nothing:
"""


def put(path: Path) -> Path:
    return write_raw(path, TINY_HEADER, b"\0" * 8)


def listed(places: list[Path], tmp_path: Path, kind: str) -> dict[str, Path]:
    roots, problems = roots_of_all(places)
    assert problems == []
    catalog = Catalog(SomeFolders((tmp_path / "own",)), tmp_path / "facts.sqlite3", roots)
    try:
        return {record.name: record.path for record in catalog.records(kind)}
    finally:
        catalog.close()


def test_a1111_when_given_is_read_where_it_lies(tmp_path: Path) -> None:
    home = tmp_path / "stable-diffusion-webui"
    lora = put(home / "models" / "Lora" / "style" / "ink.safetensors")
    word = put(home / "embeddings" / "easy.safetensors")
    own = put(tmp_path / "own" / "Lora" / "style" / "ink.safetensors")

    assert listed([home], tmp_path, "lora") == {
        "style/ink.safetensors": own,
        "Lora/style/ink.safetensors": lora,
    }
    assert listed([home], tmp_path, "embedding") == {"easy.safetensors": word}


def test_lora_scripts_when_given_brings_its_models_and_what_it_trained(tmp_path: Path) -> None:
    home = tmp_path / "lora-scripts"
    base = put(home / "sd-models" / "base.safetensors")
    trained = put(home / "output" / "run" / "mine.safetensors")

    assert listed([home], tmp_path, "checkpoint") == {"base.safetensors": base}
    assert listed([home], tmp_path, "lora") == {"run/mine.safetensors": trained}


def test_comfy_file_when_given_is_read_with_all_its_ways(tmp_path: Path) -> None:
    file = tmp_path / "comfy" / "extra_model_paths.yaml"
    file.parent.mkdir()
    file.write_text(COMFY.format(base="../webui"), "utf-8")
    base, mine = tmp_path / "webui", tmp_path / "comfy" / "mine"

    resolved = [(kind, Path(folder).resolve()) for kind, folder in roots_of(file)]
    assert resolved == [
        ("checkpoint", mine / "checkpoints"),
        ("checkpoint", base / "models/Stable-diffusion"),
        ("vae", base / "models/VAE"),
        ("lora", base / "models/Lora"),
        ("lora", base / "models/LyCORIS"),
        ("upscaler", base / "models/ESRGAN"),
        ("upscaler", base / "models/SwinIR"),
        ("embedding", base / "embeddings"),
        ("hypernetwork", base / "models/hypernetworks"),
        ("controlnet", base / "models/ControlNet"),
    ]


def test_comfy_folder_when_given_brings_its_own_models_and_those_of_its_file(
    tmp_path: Path,
) -> None:
    home = tmp_path / "ComfyUI"
    put(home / "models" / "loras" / "a.safetensors")
    put(tmp_path / "more" / "b.safetensors")
    (home / "extra_model_paths.yaml").write_text(f"x:\n  loras: {tmp_path / 'more'}\n")

    assert set(listed([home], tmp_path, "lora")) == {"a.safetensors", "b.safetensors"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:\n  loras: [x\n", "line 3"),
        ("a:\n\tloras: x\n", "line 2"),
        ("just words", "no sections"),
        ("a: models/Lora", "'a'"),
        ("a:\n  loras: 3", "'loras'"),
        ("a:\n  base_path: [x]", "'base_path'"),
        ("!!python/object/apply:os.system ['exit 1']", "YAML"),
    ],
)
def test_comfy_file_when_it_cannot_be_understood_says_where(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "extra_model_paths.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=said) as caught:
        roots_of(file)

    assert "extra_model_paths.yaml" in caught.value.message and caught.value.hint


def test_a1111_when_its_extension_holds_controlnets_then_they_are_listed(tmp_path: Path) -> None:
    home = tmp_path / "stable-diffusion-webui"
    own = put(home / "extensions" / "sd-webui-controlnet" / "models" / "canny.safetensors")
    other = put(home / "models" / "ControlNet" / "depth.safetensors")
    found = listed([home], tmp_path, "controlnet")
    assert found == {"canny.safetensors": own, "depth.safetensors": other}


def test_places_when_one_is_wrong_leave_the_others_usable(tmp_path: Path) -> None:
    put(tmp_path / "good" / "Lora" / "a.safetensors")
    (tmp_path / "empty").mkdir()
    roots, problems = roots_of_all([tmp_path / "none", tmp_path / "empty", tmp_path / "good"])

    assert roots == [("lora", str(tmp_path / "good" / "Lora"))]
    assert ["none" in problems[0].message, "empty" in problems[1].message] == [True, True]


def test_flags_when_other_programs_give_them_name_the_same_places(tmp_path: Path) -> None:
    flags = [
        "--extra-model-paths-config", str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml"),
        "--forge-ref-a1111-home", str(tmp_path / "c"), "--models-from", str(tmp_path / "d"),
        "--lyco-dir-backcompat", str(tmp_path / "e"), "--gfpgan-models-path", str(tmp_path / "f"),
        "--controlnet-dir", str(tmp_path / "g"),
    ]  # fmt: skip
    folders = read_settings(flags, {}).folders

    assert [place.name for place in folders.programs] == ["a.yaml", "b.yaml", "c", "d"]
    assert folders.loras == (tmp_path / "e",)
    assert folders.others == (("face", str(tmp_path / "f")), ("controlnet", str(tmp_path / "g")))
