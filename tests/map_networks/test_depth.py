"""Depth networks: in every form people have them they calculate what transformers calculates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from webui.checkpoints.map_networks import WANTED, find_map_networks, missing_map_networks
from webui.errors import CheckpointError
from webui.preprocessors.names import PREPROCESSORS
from webui.torch_setup import prepare_torch

prepare_torch()

from tests.map_networks.small_map_networks import (  # noqa: E402
    as_published,
    saved_state,
    small_anything,
    small_dpt,
    write_file,
)
from webui.map_networks.depth import LOOKS, DepthNetwork, working_size  # noqa: E402
from webui.map_networks.depth_names import anything_config  # noqa: E402
from webui.map_networks.open import open_map_network  # noqa: E402

CPU = torch.device("cpu")
PICTURE = np.random.default_rng(3).integers(0, 255, (40, 60, 3), np.uint8)


def pixels(name: str, size: tuple[int, int]) -> torch.Tensor:
    looks = LOOKS[name]
    values = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in (looks.mean, looks.deviation))
    return (values - mean) / deviation


@pytest.mark.parametrize(
    ("name", "make", "file"),
    [
        ("depth_anything", small_anything, "depth_anything_vits14.pth"),
        ("depth_anything", small_anything, "depth-anything-small-hf"),
        ("depth_midas", lambda: small_dpt(is_hybrid=False), "dpt_large-midas-2f21e586.pt"),
        ("depth_midas", lambda: small_dpt(is_hybrid=True), "dpt_hybrid-midas-501f0c75.pt"),
        ("depth_midas", lambda: small_dpt(is_hybrid=False), "dpt-large"),
    ],
    ids=["anything", "anything-folder", "dpt", "dpt-hybrid", "dpt-folder"],
)
def test_network_when_read_then_calculates_what_transformers_calculates(
    name: str, make: Any, file: str, tmp_path: Path
) -> None:
    model, kind = make(), WANTED[name].kind
    top = tmp_path / "models" / "ControlNetPreprocessor"
    path = top / file
    if path.suffix:
        state = as_published(kind, saved_state(model, tmp_path / "saved"))
        write_file(state, path)
    else:
        saved_state(model, path)
    assert find_map_networks([tmp_path / "models"]) == {name: path}
    network = open_map_network(name, path, CPU)
    assert isinstance(network, DepthNetwork)
    shown = pixels(kind, (64, 64) if kind == "dpt" else (56, 84))
    with torch.inference_mode():
        ours = network.model(pixel_values=shown).predicted_depth
        theirs = model(pixel_values=shown).predicted_depth
    assert torch.allclose(ours, theirs, atol=1e-5, rtol=1e-4)
    assert float(theirs.std()) > 1e-4
    found = network(PICTURE)
    assert found.shape == PICTURE.shape and found.dtype == np.uint8
    assert (found.min(), found.max()) == (0, 255) and (found[..., 0] == found[..., 2]).all()


def test_map_when_the_network_answers_then_is_white_where_it_says_near(tmp_path: Path) -> None:
    saved_state(small_anything(), tmp_path / "a")
    network = DepthNetwork("depth_anything", tmp_path / "a", CPU)
    slope = torch.linspace(2, 7, 70).repeat(1, 50, 1)
    network.model = lambda pixel_values: type("", (), {"predicted_depth": slope})
    found = network(PICTURE)[..., 0].astype(int)
    assert found[:, 0].max() == 0 and found[:, -1].min() == 255
    assert (np.diff(found, axis=1) >= 0).all()
    network._is_metric = True
    assert np.abs(network(PICTURE)[..., 0] - (255 - found)).max() <= 1  # metres: far is large
    network._is_metric = False
    flat = torch.ones(1, 50, 70)
    network.model = lambda pixel_values: type("", (), {"predicted_depth": flat})
    assert not network(PICTURE).any()
    network.model = lambda pixel_values: type("", (), {"predicted_depth": flat / 0 - flat / 0})
    with pytest.raises(CheckpointError, match="NaN"):
        network(PICTURE)


def test_working_size_when_asked_then_keeps_the_shape_in_whole_steps() -> None:
    looks = LOOKS["depth_anything"]
    assert working_size(1024, 1024, looks) == (518, 518)
    assert working_size(512, 768, looks) == (518, 784)
    assert working_size(1, 16_000, looks) == (14, 2044)


def test_second_version_when_told_by_its_name_then_looks_at_other_layers() -> None:
    state = {"pretrained.cls_token": torch.empty(1, 1, 384), "pretrained.pos_embed":
             torch.empty(1, 1370, 384), "pretrained.patch_embed.proj.weight":
             torch.empty(384, 3, 14, 14), "depth_head.scratch.output_conv2.0.weight":
             torch.empty(32, 32, 3, 3)}  # fmt: skip
    state |= {f"pretrained.blocks.{i}.ls1.gamma": torch.empty(384) for i in range(12)}
    necks = (48, 96, 192, 384)
    state |= {f"depth_head.scratch.layer{n + 1}_rn.weight": torch.empty(64, width, 3, 3)
              for n, width in enumerate(necks)}  # fmt: skip
    first, second = (anything_config(state, is_second=is_2) for is_2 in (False, True))
    assert first["backbone_config"]["out_indices"] == [9, 10, 11, 12]
    assert second["backbone_config"]["out_indices"] == [3, 6, 9, 12]
    assert second["neck_hidden_sizes"] == [48, 96, 192, 384]
    assert second["backbone_config"]["image_size"] == 518


@pytest.mark.parametrize("content", ["cut", "other", "pickle"])
def test_file_when_it_is_none_then_is_refused_with_its_source(content: str, tmp_path: Path) -> None:
    path = tmp_path / "depth_anything_v2_vits.pth"
    if content == "cut":
        path.write_bytes(b"PK\x03\x04 cut")
    elif content == "pickle":
        torch.save({"a": Path("x")}, path)
    else:
        write_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError) as found:
        open_map_network("depth_anything_v2", path, CPU)
    assert "depth" in str(found.value).lower()


def test_folder_when_weights_are_missing_then_says_which(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = saved_state(small_anything(), tmp_path)
    state.pop("head.conv3.weight")
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"1 tensors are missing, such as head\.conv3"):
        open_map_network("depth_anything", tmp_path, CPU)


# Where they lie


def test_networks_when_looked_for_then_lie_where_other_programs_have_them(tmp_path: Path) -> None:
    places = {
        "openpose": "a1111/extensions/sd-webui-controlnet/annotator/downloads/openpose/"
        "body_pose_model.pth",
        "depth_midas": "comfy/custom_nodes/comfyui_controlnet_aux/ckpts/lllyasviel/Annotators/"
        "dpt_hybrid-midas-501f0c75.pt",
        "depth_anything_v2": "models/DepthAnything/depth_anything_v2_vitb.safetensors",
        "depth_anything": "models/ControlNetPreprocessor/depth_anything/depth_anything_vitl14.pth",
    }
    for place in places.values():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    (tmp_path / "models" / "ControlNetPreprocessor" / ".hidden").mkdir()
    found = find_map_networks(
        [tmp_path / "models", tmp_path / "gone"], [tmp_path / "a1111", tmp_path / "comfy"]
    )
    assert found == {name: tmp_path / place for name, place in places.items()}


def test_networks_when_listed_then_each_has_its_preprocessor_and_a_source() -> None:
    assert {one for p in PREPROCESSORS for one in p.networks} == set(WANTED)
    assert all(p.resolution is not None for p in PREPROCESSORS if p.networks)
    for name, wanted in WANTED.items():
        told = missing_map_networks("a_preprocessor", [name])
        assert wanted.is_file(Path(wanted.file).stem)
        assert wanted.file in told.message and wanted.source in told.hint
        others = [one for other, one in WANTED.items() if other != name]
        assert not any(other.is_file(Path(wanted.file).stem) for other in others)
