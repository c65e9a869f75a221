"""Models of other families, painted by diffusers' own pipelines through the whole job path."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from webui.torch_setup import prepare_torch

prepare_torch()

from tests.checkpoints.model_files import SomeFolders  # noqa: E402
from tests.heard import Heard  # noqa: E402
from tests.tiny_pipelines import MAKERS  # noqa: E402
from webui.checkpoints.basic_support import (  # noqa: E402
    BasicModel,
    estimate_elements,
    identify_any,
    native_size,
)
from webui.checkpoints.catalog import Catalog, Record  # noqa: E402
from webui.checkpoints.load import load_checkpoint  # noqa: E402
from webui.checkpoints.load_pipeline import (  # noqa: E402
    empty_parameters,
    fitting_dtype,
    load_pipeline,
)
from webui.errors import (  # noqa: E402
    CheckpointError,
    DeviceMemoryError,
    ParamsError,
    UnknownArchitectureError,
    UnsafeCheckpointError,
    WebUIError,
)
from webui.model_process import job_listener  # noqa: E402
from webui.model_process.painter import Painter  # noqa: E402
from webui.params import (  # noqa: E402
    DrawnTexts,
    Hires,
    ImageToImage,
    Inpaint,
    Output,
    Painting,
    Refiner,
    Sampling,
    TextToImage,
    build,
)
from webui.pipelines import taking_turns  # noqa: E402
from webui.pipelines.basic import REFUSED, WITHOUT_EFFECT  # noqa: E402
from webui.pipelines.basic_preview import clean_estimate  # noqa: E402
from webui.studio import Studio  # noqa: E402

KEY = "ab" * 32
Folders = dict[str, Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Tiny models of three families. Read only."""
    base = tmp_path_factory.mktemp("pipelines")
    return {name: make(base / name) for name, make in MAKERS.items()}


@pytest.fixture
def copy(folders: Folders, tmp_path: Path) -> Callable[[str], Path]:
    """A folder of one's own."""
    return lambda name: Path(shutil.copytree(folders[name], tmp_path / name))


def facts_of(path: Path) -> dict[str, Any]:
    """A checkpoint in a job's message."""
    name, stem = path.name, path.stem
    return {"path": str(path), "name": name, "stem": stem, "sha256": "ab" * 32, "size": 1}


class Job:
    """Runs jobs in a painter; keeps what the last one said."""

    def __init__(self) -> None:
        self.heard = Heard()
        self.asked = SimpleNamespace(interrupted=False, should_stop=False)
        self.asked.clear_skip = lambda: None
        self.painter = Painter({"device": "cpu"}, self.heard, self.asked)  # type: ignore[arg-type]

    def __call__(
        self,
        path: Path,
        kind: str = "txt2img",
        preview: Any = None,
        others: Mapping[str, Path] | None = None,
        **values: Any,
    ) -> list[np.ndarray]:
        self.heard.messages.clear()
        usual = {"prompt": "a cat", "width": 64, "height": 64, "steps": 3, "seed": 5}
        output = {"output": Output(format="png")}
        params = build(kind, {**usual, **output, **values})
        message = {
            "job": 7, "params": params.to_json(), "vae": None, "preview": preview or {},
            "checkpoint": facts_of(path),
            "others": {n: {"checkpoint": facts_of(p)} for n, p in (others or {}).items()},
            "inputs": {KEY: str(path.parent / "input.png")},
            "loras": {"ink": {"path": "gone", "hash": "abc"}},
        }  # fmt: skip
        self.painter.run(message)
        return [np.asarray(Image.open(io.BytesIO(m["image"]))) for m in self.heard.of("image")]

    @property
    def infotext(self) -> str:
        return self.heard.of("image")[0]["infotext"]

    @property
    def warnings(self) -> list[str]:
        return [m["message"] for m in self.heard.of("warning")]


@pytest.fixture(scope="module")
def job() -> Iterator[Job]:
    yield Job()


def direct(folder: Path, **more: Any) -> Any:
    """The same model in diffusers' own hands."""
    import diffusers

    model = identify_any(folder)
    assert isinstance(model, BasicModel)
    kind = getattr(diffusers, model.class_name)
    pipeline = kind.from_pretrained(folder, **dict.fromkeys(model.left_out), **more)
    pipeline.set_progress_bar_config(disable=True)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.requires_grad_(False)  # with it, torch multiplies in another order
    return pipeline


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Equal but for rounding: weights that lie elsewhere in memory may be added up otherwise."""
    return int(np.abs(one.astype(int) - other).max()) <= 1


def seeds(*numbers: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(number) for number in numbers]


PLAIN = {"num_inference_steps": 3, "width": 64, "height": 64}
CALLS: dict[str, dict[str, Any]] = {
    "sd3": {"guidance_scale": 3.0, "negative_prompt": "dog"},
    "flux": {"guidance_scale": 3.0},
    "qwen-image": {"true_cfg_scale": 3.0, "negative_prompt": "dog"},
    "pixart": {
        "guidance_scale": 3.0, "negative_prompt": "dog", "use_resolution_binning": False,
        "clean_caption": False,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
def test_pictures_when_painted_are_those_of_the_pipeline_itself(
    job: Job, folders: Folders, name: str
) -> None:
    found = job(folders[name], cfg_scale=3.0, negative_prompt="dog", batch_size=2, batch_count=2)
    call = {"prompt": "a cat", "num_images_per_prompt": 2, **PLAIN, **CALLS[name]}
    pipeline = direct(folders[name])
    first = pipeline(generator=seeds(5, 6), **call).images
    second = pipeline(generator=seeds(7, 8), **call).images

    wanted = [np.asarray(image) for image in (*first, *second)]
    assert all(alike(a, b) for a, b in zip(found, wanted, strict=True))
    assert not np.array_equal(found[0], found[1])
    steps = [(m["batch"], m["step"]) for m in job.heard.of("progress") if m["stage"] == "sampling"]
    assert steps == [(b, s) for b in (0, 1) for s in range(4)]
    is_told = [("negative prompt" in told) for told in job.warnings]
    assert is_told == ([True] if name == "flux" else [])
    assert ("Negative prompt: dog" in job.infotext) == (name != "flux")


def test_recipe_when_painted_says_what_acted_and_nothing_else(job: Job, folders: Folders) -> None:
    job(
        folders["sd3"], prompt="a cat <lora:ink:1>", clip_skip=2, tiling=True, subseed_strength=0.5,
        hires=Hires(scale=2), refiner=Refiner(checkpoint="other"), sampler="Euler a",
        fp8_storage="Enable",
    )  # fmt: skip

    assert job.infotext == (
        "a cat\nSteps: 3, CFG scale: 7.0, Seed: 5, Size: 64x64, Model hash: abababab"
        "ab, Model: sd3, RNG: CPU, Version: Danqing 0.1.0"
    )
    (told,) = job.warnings
    words = ("clip skip", "tiling", "variation seed", "hires fix", "refiner", "<lora:ink:1>", "FP8")
    assert "sd3 (SD 3) has basic support" in told
    assert all(word in told for word in (*words, "the sampler"))
    job(folders["sd3"], sampler="Euler", sampling=Sampling(eta=1.0))
    assert job.warnings == []  # as every request comes that asks for nothing special


@pytest.mark.parametrize("kind", [TextToImage, ImageToImage])
def test_every_wish_of_a_request_is_followed_or_told_or_refused(kind: type[Painting]) -> None:
    followed = {
        "kind", "prompt", "negative_prompt", "styles", "checkpoint", "width", "height", "steps",
        "cfg_scale", "batch_size", "batch_count", "seed", "randn_source", "restore_faces",
        "output", "user", "init_images", "resize_mode", "denoising_strength", "background", "drawn",
        "no_half",
        "extensions",  # they join before the job and at its pictures, docs/extensions.md
    }  # fmt: skip
    with_others = {"subseed", "disable_extra_networks"}  # nothing to do by themselves
    with_others |= {"chinese_prompt", "chinese_negative_prompt"}  # told in the recipe alone
    known = followed | with_others | set(WITHOUT_EFFECT) | set(REFUSED)
    assert set(kind.model_fields) <= known


def test_texts_when_drawn_for_each_picture_are_painted_each(job: Job, folders: Folders) -> None:
    texts = DrawnTexts(template="a {cat|dog} <lora:ink:1>", prompts=("a cat", "a dog <lora:ink:1>"))
    found = job(folders["sd3"], batch_size=2, drawn=texts)
    (cat,) = job(folders["sd3"], prompt="a cat")
    (dog,) = job(folders["sd3"], prompt="a dog", seed=6)
    assert alike(found[0], cat) and alike(found[1], dog)


def test_picture_when_given_is_repainted_as_the_pipeline_does_it(
    job: Job, folders: Folders, tmp_path: Path
) -> None:
    from diffusers import AutoPipelineForImage2Image

    gray = Image.effect_mandelbrot((64, 64), (-2, -1, 1, 1), 60).convert("RGB")
    gray.save(folders["sd3"].parent / "input.png")
    values = {"init_images": (KEY,), "denoising_strength": 0.67, "batch_size": 2}
    found = job(folders["sd3"], "img2img", cfg_scale=4.0, **values)
    pipeline = AutoPipelineForImage2Image.from_pipe(direct(folders["sd3"]))
    call = {"image": gray, "strength": 0.67, "guidance_scale": 4.0, **PLAIN, "prompt": "a cat"}
    wanted = [pipeline(generator=seeds(s), negative_prompt="", **call).images[0] for s in (5, 6)]

    assert all(alike(a, np.asarray(b)) for a, b in zip(found, wanted, strict=True))
    assert "Denoising strength: 0.67" in job.infotext


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("sd3", {"inpaint": Inpaint(mask=KEY)}, "no masks"),
        ("pixart", {}, "cannot paint from pictures"),
    ],
)
def test_requests_when_they_cannot_be_followed_are_refused(
    job: Job, folders: Folders, name: str, values: dict[str, Any], words: str
) -> None:
    Image.new("RGB", (64, 64)).save(folders[name].parent / "input.png")
    with pytest.raises(ParamsError, match=words):
        job(folders[name], "img2img", init_images=(KEY,), **values)


def test_refiner_when_it_has_basic_support_is_refused_before_anything_is_painted(
    job: Job, folders: Folders, starter_checkpoint: Path
) -> None:
    words = r"painted on with sd3: it is an SD 3 folder \(basic support\)"
    with pytest.raises(UnknownArchitectureError, match=words) as told:
        job(
            starter_checkpoint,
            checkpoint="own",
            refiner=Refiner(checkpoint="sd3"),
            others={"sd3": folders["sd3"]},
        )
    assert "SDXL" in told.value.hint and not job.heard.of("progress")


def test_request_when_the_pipeline_refuses_it_is_told_in_its_words(
    job: Job, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    import diffusers

    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("`height` has to be divisible by 32.")

    monkeypatch.setattr(diffusers.PixArtSigmaPipeline, "check_inputs", refuse)
    with pytest.raises(ParamsError, match=r"pixart \(PixArt-Σ\).*divisible by 32"):
        job(folders["pixart"])


def test_walk_when_interrupted_ends_after_the_step_and_the_next_job_is_whole(
    job: Job, folders: Folders
) -> None:
    whole = job(folders["pixart"])
    job.asked.interrupted = True
    send = job.heard.send

    def listen(message: dict[str, Any]) -> None:
        send(message)
        job.asked.should_stop = message.get("step") == 2

    job.heard.send = listen  # type: ignore[method-assign]
    job.asked.interrupted = False
    cut = job(folders["pixart"])
    steps = [m["step"] for m in job.heard.of("progress")]
    job.heard.send = send  # type: ignore[method-assign]
    job.asked.should_stop = False

    assert cut == [] and steps == [0, 1, 2]
    assert np.array_equal(job(folders["pixart"])[0], whole[0])


def test_half_of_a_model_when_written_as_a_variant_is_read(job: Job, copy: Any) -> None:
    folder = copy("flux")
    whole = job(folder)
    for part in ("transformer", "vae", "text_encoder", "text_encoder_2"):
        (file,) = (folder / part).glob("*.safetensors")
        file.rename(file.with_name(f"{file.stem}.fp16.safetensors"))
    job.painter.unload()

    assert np.array_equal(job(folder)[0], whole[0])


@pytest.mark.parametrize("name", ["sd3", "flux", "pixart"])
def test_previews_when_wished_show_where_the_walk_leads(
    job: Job, folders: Folders, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(job_listener, "PREVIEW_SECONDS", -60.0)
    monkeypatch.setattr(job_listener, "PREVIEW_PAUSE", 0.0)
    (found,) = job(folders[name], preview={"format": "png"})
    shown = [np.asarray(Image.open(io.BytesIO(m["image"]))) for m in job.heard.of("preview")]
    small = job(folders[name], width=128, height=128, preview={"format": "png", "enabled": True})
    (first, *_) = job.heard.of("preview")

    assert len(shown) == 3 and np.array_equal(shown[-1], found)
    assert small[0].shape == (128, 128, 3)
    assert Image.open(io.BytesIO(first["image"])).size == (96, 96)
    job(folders[name], preview={"enabled": False})
    assert not job.heard.of("preview")


def test_estimate_when_the_walk_is_straight_is_its_end() -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(4)
    end, noise = torch.full((1, 4, 2, 2), 3.0), torch.randn(1, 4, 2, 2)
    latents = noise
    for timestep in scheduler.timesteps:
        before = latents
        latents = scheduler.step(noise - end, timestep, before, return_dict=False)[0]
        assert torch.allclose(clean_estimate(scheduler, before, latents), end, atol=1e-4)
    assert torch.equal(clean_estimate(scheduler, None, noise), noise)


@pytest.mark.parametrize(
    ("device", "dtype", "free", "wanted"),
    [
        ("cpu", torch.float32, None, torch.float32),
        ("cpu", torch.float32, 4, torch.float32),
        ("cpu", torch.float32, 3, torch.bfloat16),
        ("cpu", torch.float32, 1, DeviceMemoryError),
        ("xpu", torch.float16, 2, torch.bfloat16),
        ("xpu", torch.float32, 3, DeviceMemoryError),
    ],
)
def test_format_when_memory_is_short_is_a_smaller_one_or_the_model_is_refused(
    folders: Folders, device: str, dtype: torch.dtype, free: int | None, wanted: Any
) -> None:
    model = identify_any(folders["sd3"])
    assert isinstance(model, BasicModel)
    elements = sum(estimate_elements(model).values())
    known = None if free is None else free * elements
    if wanted is DeviceMemoryError:
        with pytest.raises(DeviceMemoryError, match="GiB"):
            fitting_dtype(model, torch.device(device), dtype, known)
    else:
        assert fitting_dtype(model, torch.device(device), dtype, known) == wanted


@pytest.mark.parametrize("full", [MemoryError(), torch.OutOfMemoryError("no room")])
def test_model_when_memory_runs_out_while_it_is_loaded_says_so(
    folders: Folders, starter_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, full: Exception
) -> None:
    def read(*_: Any) -> None:
        raise full

    monkeypatch.setattr("webui.checkpoints.weights.FileWeights.read", read)
    model = identify_any(folders["sd3"])
    assert isinstance(model, BasicModel)
    words = "does not fit into the memory of cpu"
    with pytest.raises(DeviceMemoryError, match=rf"sd3 {words}"):
        load_pipeline(model, folders["sd3"], device="cpu", dtype=torch.float32)
    with pytest.raises(DeviceMemoryError, match=words) as told:
        load_checkpoint(starter_checkpoint)
    assert "--lowvram" in told.value.hint


def edit_index(folder: Path, **values: Any) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, **values}))


def hide_code(folder: Path) -> None:
    (folder / "transformer" / "model.py").write_text("raise SystemExit('ran')")


def ask_for_code(folder: Path) -> None:
    edit_index(folder, tokenizer=["transformers", "AutoTokenizer"])
    config = folder / "tokenizer" / "tokenizer_config.json"
    stated = json.loads(config.read_text())
    config.write_text(json.dumps({**stated, "auto_map": {"AutoTokenizer": ["a/b--x.Y", None]}}))


def pickle_only(folder: Path) -> None:
    (file,) = (folder / "vae").glob("*.safetensors")
    torch.save(load_file(file), folder / "vae" / "diffusion_pytorch_model.bin")
    file.unlink()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (hide_code, UnsafeCheckpointError, r"holds code \(transformer/model.py\)"),
        (pickle_only, UnsafeCheckpointError, "diffusion_pytorch_model.bin, a pickle"),
        (lambda f: edit_index(f, _class_name=["mine", "MyPipeline"]), UnsafeCheckpointError, "own"),
        (lambda f: edit_index(f, vae=["os", "system"]), CheckpointError, "from 'os'"),
        (lambda f: edit_index(f, vae=["diffusers", "FluxPipeline"]), CheckpointError, "a part"),
        (ask_for_code, UnsafeCheckpointError, "code from elsewhere"),
        (lambda f: edit_index(f, vae=["../x", "Y"]), UnsafeCheckpointError, "no part of diffusers"),
        (lambda f: edit_index(f, _class_name="NoPipeline"), UnknownArchitectureError, "no such"),
        (lambda f: edit_index(f, _class_name="WanPipeline"), UnknownArchitectureError, "no pict"),
        (lambda f: edit_index(f, _class_name="KolorsPipeline"), CheckpointError, "sentencepiece"),
        (lambda f: shutil.rmtree(f / "text_encoder"), CheckpointError, "text_encoder is missing"),
        (lambda f: (f / "model_index.json").write_text("{"), CheckpointError, "cannot be read"),
        (lambda f: (f / "vae" / "config.json").unlink(), CheckpointError, "cannot load it"),
    ],
)  # fmt: skip
def test_folders_when_unsafe_or_incomplete_are_refused_and_say_why(
    job: Job, copy: Any, change: Callable[[Path], Any], error: type[WebUIError], words: str
) -> None:
    folder = copy("pixart")
    change(folder)

    with pytest.raises(error, match=words) as told:
        job(folder)
    assert told.value.hint and not job.heard.of("image")


def test_single_file_when_its_folder_lies_beside_it_paints_with_the_rest_of_it(
    job: Job, copy: Any, tmp_path: Path
) -> None:
    folder = copy("pixart")
    (own,) = (folder / "transformer").glob("*.safetensors")
    tensors = {name: tensor * 1.5 for name, tensor in load_file(own).items()}
    save_file(tensors, tmp_path / "tuned.safetensors")
    found = job(tmp_path / "tuned.safetensors")
    save_file(tensors, own)
    job.painter.unload()

    assert np.array_equal(found[0], job(folder)[0])
    shutil.rmtree(folder)
    with pytest.raises(UnknownArchitectureError, match="single file") as told:
        job(tmp_path / "tuned.safetensors")
    assert "diffusers folder" in told.value.hint


def test_single_file_when_it_has_the_original_names_is_converted(
    job: Job, copy: Any, tmp_path: Path
) -> None:
    folder = copy("sd3")
    (own,) = (folder / "transformer").glob("*.safetensors")
    original = {f"model.diffusion_model.{n}": t for n, t in sd3_names(load_file(own)).items()}
    other = {"first_stage_model.decoder.conv_in.weight": torch.zeros(2, 2)}
    save_file({**original, **other}, tmp_path / "one.safetensors")

    assert np.array_equal(job(tmp_path / "one.safetensors")[0], job(folder)[0])


def sd3_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A one-layer transformer under Stability's names."""
    plain = {
        "pos_embed.proj": "x_embedder.proj", "context_embedder": "context_embedder",
        "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
        "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
        "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
        "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
        "transformer_blocks.0.attn.to_out.0": "joint_blocks.0.x_block.attn.proj",
        "transformer_blocks.0.norm1.linear": "joint_blocks.0.x_block.adaLN_modulation.1",
        "transformer_blocks.0.ff.net.0.proj": "joint_blocks.0.x_block.mlp.fc1",
        "transformer_blocks.0.ff.net.2": "joint_blocks.0.x_block.mlp.fc2",
        "proj_out": "final_layer.linear",
    }  # fmt: skip
    swapped = {
        "transformer_blocks.0.norm1_context.linear":
            "joint_blocks.0.context_block.adaLN_modulation.1",
        "norm_out.linear": "final_layer.adaLN_modulation.1",
    }  # fmt: skip
    joined = {
        "joint_blocks.0.x_block.attn.qkv": ("to_q", "to_k", "to_v"),
        "joint_blocks.0.context_block.attn.qkv": ("add_q_proj", "add_k_proj", "add_v_proj"),
    }
    found = {"pos_embed": tensors["pos_embed.pos_embed"]}
    for end in ("weight", "bias"):
        found |= {f"{new}.{end}": tensors[f"{old}.{end}"] for old, new in plain.items()}
        for old, new in swapped.items():
            scale, shift = tensors[f"{old}.{end}"].chunk(2)
            found[f"{new}.{end}"] = torch.cat([shift, scale])
        for new, names in joined.items():
            parts = [tensors[f"transformer_blocks.0.attn.{name}.{end}"] for name in names]
            found[f"{new}.{end}"] = torch.cat(parts)
    return found


def test_empty_parameters_when_modules_are_made_inside_have_no_memory_and_buffers_do() -> None:
    with empty_parameters():
        layer = torch.nn.BatchNorm1d(3)

    assert layer.weight.is_meta and not layer.running_mean.is_meta
    assert not torch.nn.Linear(2, 2).weight.is_meta


def test_catalog_when_it_lists_them_says_what_they_are_and_what_they_lack(
    folders: Folders, tmp_path: Path
) -> None:
    place = tmp_path / "models" / "Stable-diffusion"
    shutil.copytree(folders["sd3"], place / "three")
    hide_code(Path(shutil.copytree(folders["flux"], place / "bad")))
    (own,) = (folders["pixart"] / "transformer").glob("*.safetensors")
    shutil.copy(own, place / "tuned.safetensors")
    catalog = Catalog(SomeFolders((tmp_path / "models",)), tmp_path / "facts.sqlite3")
    found = {r.name: r for r in catalog.checkpoints()}
    shutil.copytree(folders["pixart"], place / "zpixart")
    catalog.refresh()
    after = {r.name: r for r in catalog.checkpoints()}
    catalog.close()

    assert set(found) == {"three", "bad", "tuned.safetensors"}
    three = found["three"]
    assert (three.family, three.contents) == ("sd3", "an SD 3 folder (basic support)")
    assert three.has_basic_support and not three.problem
    assert "code" in found["bad"].problem
    assert "none lies beside it" in found["tuned.safetensors"].problem
    tuned = after["tuned.safetensors"]
    assert not tuned.problem and tuned.contents == "a PixArt-Σ checkpoint (basic support)"
    sizes = [native_size(record.path) for record in (tuned, after["zpixart"], after["bad"])]
    assert sizes == [16, 16, 32]  # cells × pixels of a cell; FLUX asks its autoencoder
    assert native_size(tmp_path / "gone.safetensors") == 0


@pytest.mark.parametrize(
    ("said", "cells", "wanted"),
    [
        ({}, 384, 768), ({}, 4, 1024), ({"modelspec.resolution": "640x640"}, 384, 640),
        ({"starter_config": "[]"}, 384, 768),
    ],
)  # fmt: skip
def test_size_that_is_proposed_is_what_the_file_or_its_folder_says(
    copy: Any, said: dict[str, str], cells: int, wanted: int
) -> None:
    folder = copy("pixart")
    config = folder / "transformer" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "sample_size": cells}))
    record = Record("checkpoint", "pixart", folder, 1, 1, contents="a PixArt-Σ (basic support)")
    studio: Any = SimpleNamespace(catalog=SimpleNamespace(metadata=lambda _record: said))
    assert Studio.native_size(studio, record) == wanted


@pytest.mark.parametrize("by_blocks", [False, True])
@pytest.mark.parametrize("name", MAKERS)
def test_networks_when_they_take_turns_paint_the_same_one_after_the_other(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, name: str, by_blocks: bool
) -> None:
    model = identify_any(folders[name])
    assert isinstance(model, BasicModel)
    place = {"device": "cpu", "dtype": torch.float32}
    loaded = load_pipeline(model, folders[name], **place)
    call = {"prompt": "a cat", **PLAIN, **CALLS[name]}
    whole = loaded.pipeline(generator=seeds(1), **call).images[0]
    come: list[str] = []
    names = {network: part for part, network in loaded.parts.items()}
    move = taking_turns.move

    def told(network: Any, device: Any, but: Any) -> None:
        if network in names:
            come.append(names[network])
        move(network, device, but)

    monkeypatch.setattr(taking_turns, "move", told)
    taking_turns.take_turns(loaded, by_blocks=by_blocks)
    found = loaded.pipeline(generator=seeds(1), **call).images[0]

    assert np.array_equal(np.asarray(whole), np.asarray(found))
    assert come[0].startswith("text_encoder") and come[-2:] == ["transformer", "vae"]
    assert come.count("transformer") == come.count("vae") == 1


def test_network_when_moved_leaves_its_blocks_where_they_are() -> None:
    inner = torch.nn.Linear(2, 2)
    network = torch.nn.Sequential(torch.nn.ModuleList([inner]), torch.nn.BatchNorm1d(2))
    taking_turns.move(network, torch.device("meta"), {inner})

    assert not inner.weight.is_meta
    assert network[1].weight.is_meta and network[1].running_mean.is_meta
