"""Files in other forms: every tensor is where it was, and other programs read the result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.merging.conftest import model_file
from webui.checkpoints.embeddings import read_embedding_facts
from webui.checkpoints.folders import identify_folder
from webui.checkpoints.identify import identify_file
from webui.checkpoints.weights import FileWeights
from webui.errors import CheckpointError, UnsafeCheckpointError
from webui.merging.convert import convert_model
from webui.merging.folders import write_folder, write_single_file
from webui.merging.source import open_source
from webui.params import ConvertModel
from webui.progress import Silent

UNET = "model.diffusion_model."
QUIET = Silent()


def converted(path: Path, folder: Path, **wishes: Any) -> tuple[Path, dict[str, torch.Tensor]]:
    params = ConvertModel(name=path.name, **wishes)
    made = convert_model(params, model_file(path), folder, QUIET)
    return made, load_file(made)


@pytest.fixture
def trained() -> dict[str, torch.Tensor]:
    """What a training leaves in a checkpoint."""
    one, other = torch.randn(4, 4, 3, 3), torch.randn(4, 4, 3, 3)
    return {
        f"{UNET}input_blocks.0.0.weight": one,
        "model_ema.diffusion_modelinput_blocks00weight": other,
        "model_ema.decay": torch.tensor(0.999),
        "first_stage_model.decoder.conv_in.weight": torch.randn(3),
        "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77.0)[None],
        "betas": torch.randn(5),
        "v_pred": torch.tensor([]),
        "loss.discriminator.weight": torch.randn(7),
    }


@pytest.mark.parametrize("is_zipped", [True, False])
def test_pickle_becomes_safetensors_with_the_same_tensors(
    is_zipped: bool, trained: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "old.ckpt"
    turned = {**trained, "turned": torch.arange(12.0).reshape(3, 4).t()[:, 1:]}
    content = {"state_dict": turned, "optimizer_states": [{"step": torch.ones(50)}]}
    torch.save(content, path, _use_new_zipfile_serialization=is_zipped)
    made, found = converted(path, tmp_path)
    assert made.name == "old.safetensors" and set(found) == set(turned)
    for name, tensor in turned.items():
        assert torch.equal(found[name], tensor), name
    assert found["cond_stage_model.transformer.text_model.embeddings.position_ids"].dtype == (
        torch.int64
    )


def test_tensor_that_lies_in_another_order_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webui.merging.source.PIECE_ELEMENTS", 10)
    turned = torch.arange(300.0).reshape(20, 15).t()[1:]
    path = tmp_path / "turned.ckpt"
    torch.save({"x": turned, "none": turned[:0], "y": turned.half()}, path)
    read: list[int] = []
    plain = FileWeights.numbers
    monkeypatch.setattr(
        FileWeights, "numbers", lambda self, *place: read.append(place[2]) or plain(self, *place)
    )
    with open_source(path) as source:
        assert torch.cat(list(source.pieces("x"))).tolist() == turned.flatten().tolist()
        assert sum(read) < 301, "not again for every piece"
        assert torch.equal(source.read("y"), turned.half()) and source.read("none").numel() == 0


def test_file_that_went_away_or_was_cut_meanwhile_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"x": torch.ones(100)}, path)
    with open_source(path) as source:
        path.write_bytes(path.read_bytes()[:200])
        with pytest.raises(CheckpointError, match="was cut or written to while it was read"):
            list(source.pieces("x"))
        path.unlink()
        with pytest.raises(CheckpointError, match="not there"), open_source(path):
            pass


def test_pruned_file_keeps_what_painting_needs(
    trained: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "full.safetensors"
    save_file(trained, path)
    made, found = converted(path, tmp_path, pruning="no-ema", precision="fp16")
    assert made.name == "full-pruned-fp16.safetensors"
    assert set(found) == {
        name for name in trained
        if not name.startswith(("model_ema.", "loss.")) and name != "betas"
    }  # fmt: skip
    weight = f"{UNET}input_blocks.0.0.weight"
    assert torch.equal(found[weight], trained[weight].half())
    made, found = converted(path, tmp_path, pruning="ema-only")
    assert made.name == "full-pruned-emaonly.safetensors"
    assert torch.equal(found[weight], trained["model_ema.diffusion_modelinput_blocks00weight"])
    _, everything = converted(path, tmp_path, precision="bf16")
    assert set(everything) == set(trained)


def test_numbers_too_large_for_a_format_are_not_written_as_infinity(tmp_path: Path) -> None:
    path, most = tmp_path / "large.safetensors", torch.finfo(torch.float16).max
    save_file({"x": torch.tensor([1.0, -1e6])}, path)
    with pytest.raises(CheckpointError, match=r"x holds 1e\+06, and F16 ends at 65504"):
        converted(path, tmp_path, model_kind="lora", precision="fp16")
    assert converted(path, tmp_path, model_kind="lora", precision="bf16")[1]["x"][1] < -most
    save_file({"x": torch.tensor([1.0, float("inf")])}, path)
    _, found = converted(path, tmp_path, model_kind="lora", precision="fp16")
    assert found["x"].isinf().tolist() == [False, True], "what was infinite stays so"
    eight = torch.tensor([1.0, -448.0]).to(torch.float8_e4m3fn)
    save_file({"x": eight, "none": torch.zeros(0)}, path)
    for precision, wanted in (("keep", torch.float8_e4m3fn), ("fp16", torch.float16)):
        _, found = converted(
            path, tmp_path, model_kind="lora", precision=precision, custom_name=precision
        )
        assert found["x"].dtype == wanted and found["x"].tolist() == eight.tolist()


def test_pruning_what_has_no_averages_is_told(tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    save_file({f"{UNET}input_blocks.0.0.weight": torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match=r"no running averages \(EMA\)"):
        converted(path, tmp_path, pruning="ema-only")
    save_file({"x": torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match="nothing can be cut"):
        converted(path, tmp_path, pruning="no-ema")


def test_pruning_takes_no_text_encoder_from_a_family_it_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "sd3.safetensors"
    names = ("joint_blocks.0.x_block.attn.qkv.weight", "x_embedder.proj.weight")
    state = {f"{UNET}{name}": torch.ones(1) for name in names}
    save_file({**state, "text_encoders.clip_l.x": torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match="nothing can be cut"):
        converted(path, tmp_path, pruning="no-ema")


def test_pickled_embedding_becomes_one_that_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cat.pt"
    vectors = torch.randn(3, 768)
    torch.save({"string_to_param": {"*": vectors}, "name": "cat", "step": 7}, path)
    made, found = converted(path, tmp_path, model_kind="embedding")
    assert torch.equal(found["emb_params"], vectors)
    facts = read_embedding_facts(made)
    assert (facts.vectors, facts.width) == (3, 768)


def test_unsafe_pickle_is_not_converted(tmp_path: Path) -> None:
    path = tmp_path / "evil.ckpt"
    path.write_bytes(b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.")
    with pytest.raises(UnsafeCheckpointError, match=r"run a program: os\.system\('true'\)"):
        converted(path, tmp_path)


def test_metadata_of_a_file_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"x": torch.ones(1)}, path, {"ss_output_name": "me"})
    made, _ = converted(path, tmp_path, model_kind="lora", precision="fp16")
    with safe_open(made, "pt") as file:
        assert file.metadata() == {"ss_output_name": "me", "format": "pt"}


@pytest.mark.parametrize("fixture", ["small_checkpoint", "small_xl"])
def test_file_becomes_a_folder_that_diffusers_loads_and_comes_back_the_same(
    fixture: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    import diffusers

    path: Path = request.getfixturevalue(fixture)
    folder = write_folder(model_file(path), tmp_path / "made", "keep", QUIET)
    assert not list(tmp_path.glob(".*")), "nothing half-made is left"
    ours, theirs = identify_file(path), identify_folder(folder)
    assert (ours.unet, ours.vae, ours.texts) == (theirs.unet, theirs.vae, theirs.texts)
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder)
    wanted = "StableDiffusionXLPipeline" if fixture == "small_xl" else "StableDiffusionPipeline"
    assert type(pipeline).__name__ == wanted
    assert pipeline.tokenizer("a red apple").input_ids == [49406, 320, 736, 3055, 49407]
    original = load_file(path)
    weight = original["model.diffusion_model.out.2.weight"]
    assert torch.equal(pipeline.unet.conv_out.weight, weight)
    back = write_single_file(model_file(folder), tmp_path / "back.safetensors", "keep", QUIET)
    returned = load_file(back)
    constants = {name for name in original if name.endswith(("position_ids", "logit_scale"))}
    assert set(returned) == set(original) - constants
    for name, tensor in returned.items():
        assert torch.equal(tensor, original[name]), name


def test_folder_says_what_the_model_predicts(small_checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    save_file({**load_file(small_checkpoint), "v_pred": torch.tensor([])}, path)
    folder = write_folder(model_file(path), tmp_path / "made", "fp16", QUIET)
    said = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    assert said["prediction_type"] == "v_prediction"
    back = write_single_file(model_file(folder), tmp_path / "back.safetensors", "keep", QUIET)
    assert identify_file(back).prediction_type == "v_prediction"
    half = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in half.values()} == {torch.float16}


def test_folder_is_told_where_one_file_is_needed(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    with pytest.raises(CheckpointError, match=r"made is a diffusers folder\. Convert it into one"):
        converted(tmp_path / "made", tmp_path, pruning="ema-only")


def test_averages_do_not_become_a_folder_by_silence() -> None:
    with pytest.raises(ValueError, match="become one file first"):
        ConvertModel(name="x", pruning="ema-only", layout="diffusers")


def test_checkpoint_without_a_vae_is_no_folder(small_checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    state = {k: v for k, v in load_file(small_checkpoint).items() if "first_stage" not in k}
    save_file(state, path)
    with pytest.raises(CheckpointError, match="lacks vae"):
        write_folder(model_file(path), tmp_path / "made", "keep", QUIET)
    assert not (tmp_path / "made").exists()
