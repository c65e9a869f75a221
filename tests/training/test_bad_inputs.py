"""Twenty bad inputs, one by one, as a person meets them: a TOML file, a folder, the command.

Each must be told before the model is read, in a sentence that says what was wanted, what was found
and what to do, with exit code 2; what only deserves a warning lets the training go on. Nothing is
left behind that stands in the way of a second try.

Source: lora-training.md, section 7.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from PIL import Image

from webui.errors import TrainingError
from webui.model_process import train_run
from webui.train_command import main
from webui.training import starting

MODEL_IS_READ = "the model is read"


def pictures(place: Path, folder: str = "2_zork", ending: str = ".txt", **more: Any) -> Path:
    """A blank and Chinese are in the path of every one of these."""
    inner = place / "my 图片" / folder
    inner.mkdir(parents=True)
    for number in range(2):
        image = Image.effect_noise(more.get("size", (64, 64)), 50 + number).convert("RGB")
        image.save(inner / f"红 {number}.png")
        (inner / f"红 {number}{ending}").write_text("a zork, red", encoding="utf-8")
    return inner


def with_file(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda place: (pictures(place) / name).write_bytes(content)


def with_cut_off_files(place: Path) -> None:
    """Two whose heads are whole, so that only their pixels tell; and one that is a head."""
    folder = pictures(place)
    whole = (folder / "红 0.png").read_bytes()
    (folder / "0 head.png").write_bytes(whole[:60])
    for number in range(2):
        Image.effect_noise((64, 64), 50).save(folder / f"{number} cut.jpg")
        whole = (folder / f"{number} cut.jpg").read_bytes()
        (folder / f"{number} cut.jpg").write_bytes(whole[: len(whole) // 2])


def only_folder(name: str) -> Callable[[Path], object]:
    return lambda place: (place / "my 图片" / name).mkdir(parents=True)


def with_lora(place: Path) -> None:
    """A LoRA of rank 2, a state of rank 2, a VAE and a text, under names that do not tell."""
    pictures(place)
    layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    lora = {
        f"{layer}.lora_down.weight": torch.zeros(2, 256),
        f"{layer}.lora_up.weight": torch.zeros(256, 2),
        f"{layer}.alpha": torch.tensor(2.0),
    }
    safetensors.torch.save_file(lora, place / "a.safetensors")
    large = f"{layer.replace('attn1_to_q', 'attn2_to_k')}.lora_down.weight"
    safetensors.torch.save_file({large: torch.zeros(2, 2048)}, place / "large.safetensors")
    vae = {
        "encoder.conv_in.weight": torch.zeros(128, 3, 3, 3),
        "decoder.conv_in.weight": torch.zeros(512, 4, 3, 3),
        "quant_conv.weight": torch.zeros(8, 8, 1, 1),
    }
    safetensors.torch.save_file(vae, place / "b.safetensors")
    (place / "notes.txt").write_text("hello")
    (place / "old-state").mkdir()
    same = {"family": "sd1", "model": "starter-emoji.safetensors", "dim": 8}
    facts = {"current_step": 3, "step": 3, "same": same}
    (place / "old-state/train_state.json").write_text(json.dumps(facts))
    (place / "empty-state").mkdir()


@dataclass(frozen=True)
class Bad:
    """One bad input.

    Attributes:
        options: That are changed; ``{place}`` in a text is the folder of the test.
        said: What the sentence must hold.
        layout: Makes the folders. is_error: False = a warning, and the training goes on.
    """

    number: str
    said: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    layout: Callable[[Path], object] = pictures
    is_error: bool = True


def warned(number: str, *said: str, layout: Callable[[Path], object] = pictures, **options: Any):
    return Bad(number, said, options, layout, is_error=False)


def refused(number: str, *said: str, layout: Callable[[Path], object] = pictures, **options: Any):
    return Bad(number, said, options, layout)


INPUTS = [
    refused("1", "train_data_dir: the folder", 'my 图片" does not exist', "Look for a mistake",
            layout=lambda place: None),
    refused("1 none", "train_data_dir names no folder", "10_mychar", train_data_dir=""),
    refused("2", 'my 图片" holds 2 images but no folder named like "10_mychar"', "suggested 7",
            layout=lambda place: pictures(place, ".")),
    refused("3", "no images found in", "looked for png, jpg", "skipped folders: mychar because",
            "Put pictures into a folder", layout=only_folder("mychar")),
    refused("4", '"bad.png" cannot be read as an image (its content is no picture)', "Remove it",
            layout=with_file("bad.png", b"no picture")),
    refused("4 empty", '"bad.png" cannot be read as an image (the file is empty)',
            layout=with_file("bad.png", b"")),
    refused("4 head", '"0 head.png" cannot be read', "(the file is cut off)",
            layout=with_cut_off_files),
    warned("4 skipped", '"0 cut.jpg" cannot be read', '"1 cut.jpg" cannot be read',
           "(the file is cut off)", layout=with_cut_off_files, skip_broken=True),
    refused("5", '"红 0.txt" is not UTF-8 text (byte 2)', "Save it as UTF-8",
            layout=with_file("红 0.txt", b"a \xba\xec")),
    warned("5 empty", '"红 0.txt" is empty; "zork" is used instead.',
           layout=with_file("红 0.txt", b"")),
    warned("6", '2 of 2 images in "2_zork" have no ".txt" caption (first: 红 0.png, 红 1.png)',
           'They use "zork"', 'Is caption_extension ".txt" right? There are 2 ".caption" files',
           layout=lambda place: pictures(place, ending=".caption")),
    refused("7", 'resolution: "big" is not a size', "512,768", "multiple of 64", resolution="big"),
    refused("7 odd", 'resolution: "500,500" is not a size', "multiple of 64", resolution=500),
    refused("8", "min_bucket_reso 576 must not exceed the smaller side of resolution (512).",
            enable_bucket=True, resolution=512, min_bucket_reso=576),
    refused("8 max", "max_bucket_reso 640 must not be less than the larger side (768).",
            enable_bucket=True, resolution="512,768", max_bucket_reso=640),
    refused("9", "bucket_reso_steps: 48 does not fit SD1.5; use a multiple of 64 (SDXL: 32).",
            enable_bucket=True, resolution=512, bucket_reso_steps=48),
    refused("9 half", "bucket_reso_steps: 32 does not fit SD1.5", enable_bucket=True,
            resolution=512, bucket_reso_steps=32),
    refused("10", '"红 0.png" is 40x200, smaller than bucket_reso_steps (64).',
            "switch bucket_no_upscale off", "(2 such files)",
            layout=lambda place: pictures(place, size=(40, 200)), enable_bucket=True,
            resolution=512, bucket_no_upscale=True),
    refused("11", "cache_latents cannot be used with color_aug", "Switch one of them off",
            color_aug=True),
    refused("11 crop", "cache_latents cannot be used with random_crop", random_crop=True),
    refused("12", "cache_text_encoder_outputs needs captions that never change",
            "switch off shuffle_caption", cache_text_encoder_outputs=True, shuffle_caption=True),
    refused("12 text", "cache_text_encoder_outputs needs network_train_unet_only.",
            cache_text_encoder_outputs=True, network_train_unet_only=False),
    refused("13", '"starter-emoji.safetensors" is an SD 1.x model; this job trains SDXL',
            "Choose another file, or switch the model type", model_train_type="sdxl-lora"),
    refused("13 lora", "a.safetensors is a LoRA, not a checkpoint", "Choose a checkpoint of SD 1.x",
            layout=with_lora, pretrained_model_name_or_path="{place}/a.safetensors"),
    refused("13 vae", "b.safetensors is a VAE, not a checkpoint", "Choose a checkpoint",
            layout=with_lora, pretrained_model_name_or_path="{place}/b.safetensors"),
    refused("13 text", "is neither a safetensors file nor a torch file", "Choose a checkpoint",
            layout=with_lora, pretrained_model_name_or_path="{place}/notes.txt"),
    refused("13 hub", 'there is no file or folder "owner/name"', "models get",
            pretrained_model_name_or_path="owner/name"),
    refused("13 none", "No checkpoint to train upon was chosen", pretrained_model_name_or_path=""),
    refused("14", "max_token_length: 100 is not possible; use 75, 150 or 225.",
            max_token_length=100),
    warned("14 255", "255 is not possible; 225 is used", max_token_length=255),
    refused("15", "clip_skip: 13 is out of range. 1 means no skip; SD 1.x allows 1 to 12.",
            clip_skip=13),
    refused("16", "network_dim: 0 must be a whole number of at least 1.", network_dim=0),
    refused("16 alpha", "network_alpha: -1 must be at least 0.", network_alpha=-1),
    refused("16 rate", 'unet_lr: "fast" is not a number; write 0.0001 or 1e-4.', unet_lr="fast"),
    refused("16 kind", 'network_module: "networks.x" is unknown; choose networks.lora or lycoris',
            network_module="networks.x"),
    refused("17", "Nothing would be trained: network_train_unet_only and", "exclude each other",
            network_train_text_encoder_only=True),
    refused("17 rates", "Nothing would be trained: both learning rates are 0.", unet_lr=0,
            text_encoder_lr=0, network_train_unet_only=False),
    refused("18", 'lr_scheduler "constant" has no warm-up', "choose constant_with_warmup",
            lr_warmup_steps=10),
    refused("18 long", "lr_warmup_steps (10) is not less than the 1 steps of this training",
            "Choose fewer", lr_scheduler="cosine", lr_warmup_steps=10),
    refused("19", "needs the package nowhere, which is not installed", "or choose AdamW",
            optimizer_type="Prodigy", unet_lr=1.0),
    warned("19 rate", "Prodigy expects a rate near 1.0; you set 0.001", optimizer_type="Prodigy"),
    refused("20", "is a state of dim 8; this job has dim 2", "start from its weights",
            layout=with_lora, resume="{place}/old-state"),
    refused("20 none", "holds no state of a training", "Choose a folder that ends in -state",
            layout=with_lora, resume="{place}/empty-state"),
    refused("20 rank", "network_weights: rank 2 in the file, 4 here.", "dim_from_weights",
            layout=with_lora, network_weights="{place}/a.safetensors", network_dim=4),
    refused("20 family", 'base_weights: "large.safetensors" was made for SDXL; this job trains SD',
            "of the same family", layout=with_lora, base_weights=["{place}/large.safetensors"]),
    # more that must be caught
    refused("folder", "output_dir: nothing can be written into", "it is a file",
            "Choose another folder", layout=with_lora, output_dir="{place}/notes.txt"),
    refused("log", "logging_dir: nothing can be written into", layout=with_lora,
            logging_dir="{place}/notes.txt/logs"),
    refused("name", "cannot be a file name", output_name="a:b"),
    refused("half", "fp16 does not work on the CPU", mixed_precision="fp16"),
    refused("prompts", "cannot be read: it does not exist", sample_prompts="{place}/p.txt"),
    warned("unknown", '"lr_sheduler" is unknown and was left out. Did you mean "lr_scheduler"?',
           lr_sheduler="cosine"),
    warned("shuffled", "most captions have no more tags: nothing is shuffled", keep_tokens=3,
           shuffle_caption=True),
]  # fmt: skip


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends a training where its model would be read."""

    def read(*_: object) -> None:
        raise TrainingError(MODEL_IS_READ)

    monkeypatch.setattr(train_run, "_base", read)


def toml_of(bad: Bad, place: Path, checkpoint: Path) -> Path:
    options = {
        "pretrained_model_name_or_path": str(checkpoint), "train_data_dir": str(place / "my 图片"),
        "resolution": "64", "caption_extension": ".txt", "output_name": "佐克", "network_dim": 2,
        "cache_latents": True, "network_train_unet_only": True, "unet_lr": 1e-3, "seed": 3,
        "output_dir": str(place / "out 出"), "max_train_steps": 1, **bad.options,
    }  # fmt: skip
    file = place / "my 配置.toml"
    lines = [f"{key} = {json.dumps(v, ensure_ascii=False)}" for key, v in options.items()]
    file.write_text("\n".join(lines).replace("{place}", str(place)), encoding="utf-8")
    return file


@pytest.mark.parametrize("bad", INPUTS, ids=lambda bad: bad.number)
@pytest.mark.usefixtures("unread")
def test_input_when_bad_then_told_before_the_model_is_read(
    bad: Bad,
    starter_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = starting.KINDS["Prodigy"]
    package = type(kind)(**{**vars(kind), "package": "nowhere", "module": "nowhere"})
    monkeypatch.setitem(starting.KINDS, "Prodigy", package if bad.is_error else KIND_THAT_IS_THERE)
    bad.layout(tmp_path)
    file = toml_of(bad, tmp_path, starter_checkpoint)
    code = main(["--config_file", str(file), "--device", "cpu"])
    told = capsys.readouterr()
    for part in bad.said:
        assert part in (told.err if bad.is_error else told.out)
    assert code == (2 if bad.is_error else 1)
    assert (MODEL_IS_READ in told.err) is not bad.is_error
    assert not list(tmp_path.rglob("*.safetensors.*")) and "Traceback" not in told.err
    assert not list((tmp_path / "out 出").glob("*")), "nothing stands in the way of a second try"


KIND_THAT_IS_THERE = type(starting.KINDS["Prodigy"])("json", "x", "json", finds_rate=True)
"""Whether an extra is installed here does not decide these."""


def test_memory_when_it_is_full_before_the_first_step_then_told_what_helps(
    starter_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(train_run, "_base", read)
    pictures(tmp_path)
    file = toml_of(Bad("memory", ()), tmp_path, starter_checkpoint)
    assert main(["--config_file", str(file), "--device", "cpu"]) == 1
    told = capsys.readouterr().err
    assert "Memory ran out before the first step. Lower the resolution" in told
    assert "Traceback" not in told
