"""Files and command lines become one schema; what is wrong is said in sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from webui.errors import ParamsError
from webui.params import TrainLora, build, from_json
from webui.params.training import TrainingOptions
from webui.training.checks import check_options, find_problems
from webui.training.config import (
    flat,
    read_arguments,
    read_command_line,
    read_file,
    read_options,
    write_toml,
)
from webui.training.network_args import read_network_args
from webui.training.optimizer_names import optimizer_name
from webui.training.samples import pictures_of, read_prompts

SEED_FILE = """
pretrained_model_name_or_path = "models/base15.safetensors"
[data]
train_data_dir = "train/my char 角色"
resolution = "512,512"
enable_bucket = true
caption_extension = ".txt"
shuffle_caption = true
keep_tokens = 1
cache_latents = true
[net]
network_module = "networks.lora"
network_dim = 32
network_alpha = 32
[train]
max_train_epochs = 10
unet_lr = "1e-4"
text_encoder_lr = 1e-5
lr_scheduler = "cosine_with_restarts"
clip_skip = 2
max_token_length = 225
seed = 1337
[save]
output_dir = "output"
output_name = "mychar"
save_every_n_epochs = 2
save_precision = "fp16"
"""
SEED_WORDS = (
    "--pretrained_model_name_or_path=models/base15.safetensors --enable_bucket --seed 1337 "
    "--resolution=512,512 --caption_extension .txt --shuffle_caption --keep_tokens=1 "
    "--cache_latents --network_module=networks.lora --network_dim 32 --network_alpha 32 "
    "--max_train_epochs=10 --unet_lr=1e-4 --text_encoder_lr 1e-5 --output_dir=output "
    "--lr_scheduler=cosine_with_restarts --clip_skip=2 --max_token_length=225 "
    "--output_name=mychar --save_every_n_epochs=2 --save_precision=fp16"
)


@pytest.fixture
def seed_file(tmp_path: Path) -> Path:
    path = tmp_path / "种子 seed.toml"
    path.write_text(SEED_FILE, encoding="utf-8")
    return path


def test_options_when_from_a_file_or_from_words_then_the_same(seed_file: Path) -> None:
    from_file = read_options(read_file(seed_file)).options
    words = [*SEED_WORDS.split(), "--train_data_dir", "train/my char 角色"]
    assert read_command_line(words).options == from_file
    assert from_file.unet_lr == 1e-4 and from_file.text_encoder_lr == (1e-5,)


def test_file_when_written_then_reads_back_equal(seed_file: Path, tmp_path: Path) -> None:
    options = read_options(
        {**read_file(seed_file), "network_args": ["conv_dim=4"], "resolution": [512, 768]}
    ).options
    written = tmp_path / "again.toml"
    written.write_text(write_toml(options), encoding="utf-8")
    assert read_options(read_file(tmp_path / "again")).options == options


def test_words_when_beside_a_file_then_they_win(seed_file: Path) -> None:
    words = ["--config_file", str(seed_file), "--seed", "7", "--no-cache_latents", "--epoch=3"]
    options = read_command_line(words).options
    assert (options.seed, options.cache_latents, options.max_train_epochs) == (7, False, 3)
    assert options.network_dim == 32


def test_sections_when_merged_then_the_later_wins() -> None:
    assert flat({"a": 1, "x": {"a": 2}, "y": {"b": 3}}) == {"a": 2, "b": 3}


@pytest.mark.parametrize(
    ("given", "name", "value", "notice"),
    [
        ({"lr_restart_cycles": 3}, "lr_scheduler_num_cycles", 3, "is read as"),
        ({"caption_extention": "txt"}, "caption_extension", ".txt", "is read as"),
        ({"reg_data_dir": ""}, "reg_data_dir", "", ""),
        ({"max_token_length": 255}, "max_token_length", 225, "225 is used"),
        ({"clip_skip": 0}, "clip_skip", None, ""),
        ({"save_n_epoch_ratio": 0}, "save_n_epoch_ratio", 0, ""),
        ({"resolution": 768}, "resolution", (768, 768), ""),
        ({"resolution": "512x768"}, "resolution", (512, 768), ""),
        ({"network_dimm": 3}, "network_dim", None, 'Did you mean "network_dim"?'),
        ({"wandb_api_key": "secret"}, "log_with", "", "wandb_api_key is not used here"),
        ({"cache_latents_to_disk": True}, "cache_latents", True, ""),
    ],
)
def test_value_when_odd_then_understood(
    given: dict[str, Any], name: str, value: Any, notice: str
) -> None:
    reading = read_options(given)
    assert getattr(reading.options, name) == value
    assert any(notice in told for told in reading.notices) if notice else not reading.notices


def good(**changed: Any) -> dict[str, Any]:
    return {"pretrained_model_name_or_path": "a.safetensors", "unet_lr": 1e-4, **changed}


BAD = [
    ({"resolution": "big"}, "resolution", 'resolution: "big" is not a size. Write one number'),
    ({"max_token_length": 100}, "max_token_length", "100 is not possible; use 75, 150 or 225."),
    ({"clip_skip": 13}, "clip_skip", "clip_skip: 13 is out of range. 1 means no skip; SD1.5"),
    ({"network_dim": 0}, "network_dim", "network_dim: 0 must be a whole number of at least 1."),
    ({"network_alpha": -1}, "network_alpha", "network_alpha: -1 must be at least 0."),
    ({"unet_lr": "fast"}, "unet_lr", 'unet_lr: "fast" is not a number; write 0.0001 or 1e-4.'),
    ({"network_module": "x"}, "network_module", '"x" is unknown; choose networks.lora or lycoris'),
    ({"network_train_unet_only": True, "network_train_text_encoder_only": True},
     "network_train_unet_only", "exclude each other"),
    ({"unet_lr": 0, "text_encoder_lr": 0}, "learning_rate", "both learning rates are 0"),
    ({"lr_warmup_steps": 5}, "lr_warmup_steps", 'lr_scheduler "constant" has no warm-up'),
    ({"cache_latents": True, "color_aug": True}, "color_aug", "cannot be used with color_aug"),
    ({"cache_text_encoder_outputs": True, "network_train_unet_only": True,
      "shuffle_caption": True}, "shuffle_caption", "switch off shuffle_caption"),
    ({"cache_text_encoder_outputs": True}, "cache_text_encoder_outputs",
     "needs network_train_unet_only"),
    ({"optimizer_type": "Adamw9"}, "optimizer_type", 'Did you mean "AdamW"'),
    ({"use_8bit_adam": True, "use_lion_optimizer": True}, "optimizer_type", "Choose one"),
    ({"adaptive_noise_scale": 0.1}, "adaptive_noise_scale", "needs noise_offset"),
    ({"scale_v_pred_loss_like_noise_pred": True}, "scale_v_pred_loss_like_noise_pred", "needs v_"),
    ({"v_pred_like_loss": 0.1, "v_parameterization": True}, "v_pred_like_loss", "cannot be used"),
    ({"output_name": "a/b"}, "output_name", "cannot be a file name"),
    ({"resume": "/nowhere"}, "resume", "does not exist"),
    ({"sample_prompts": "missing.txt"}, "sample_prompts", "cannot be read"),
    ({"sample_prompts": "a cat --zz 3"}, "sample_prompts", '"--zz"'),
    ({"sample_prompts": "a cat", "sample_sampler": "x"}, "sample_sampler", '"x" is unknown'),
    ({"network_args": ["conv_dims=3"]}, "network_args", 'Did you mean "conv_dim"?'),
    ({"network_args": ["conv_dim"]}, "network_args", "not of the form name=value"),
    ({"network_args": ["block_dims=1,2"]}, "network_args", "25 are needed"),
    ({"network_module": "lycoris.kohya", "network_args": ["preset=attn"]}, "network_args",
     'preset "attn" is unknown. Did you mean "attn-'),
    ({"network_module": "lycoris.kohya", "network_args": ["train_norm=True"]}, "network_args",
     "train_norm is not possible here"),
    ({"optimizer_args": ["loraplus=1"], "network_args": ["loraplus_lr_ratio=4"],
      "optimizer_type": "Prodigy", "unet_lr": 1.0}, "network_args", "does not work with Prodigy"),
    ({"mixed_precision": "fp16"}, "mixed_precision", "does not work on the CPU"),
    ({"full_fp16": True}, "full_fp16", "needs mixed_precision fp16"),
    ({"min_timestep": 500, "max_timestep": 400}, "max_timestep", "must not be less than"),
    ({"caption_dropout_rate": 1.5}, "caption_dropout_rate", "at most 1"),
    ({"train_batch_size": 0}, "train_batch_size", "at least 1"),
    ({"prior_loss_weight": -1}, "prior_loss_weight", "at least 0"),
    ({"loss_type": "l3"}, "loss_type", '"l3" is unknown; choose'),
    ({"pretrained_model_name_or_path": ""}, "pretrained_model_name_or_path", "No checkpoint"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "field", "sentence"), BAD, ids=lambda v: str(v)[:40] if isinstance(v, dict) else ""
)
def test_input_when_bad_then_its_field_and_its_sentence(
    changed: dict[str, Any], field: str, sentence: str
) -> None:
    with pytest.raises(ParamsError) as found:
        check_options(read_options(good(**changed)).options)
    assert sentence in str(found.value)
    assert found.value.details.get("field") == field


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"optimizer_type": "prodigy"}, "Prodigy expects a rate near 1.0; you set 0.0001."),
        ({"unet_lr": 1e-6}, "very low"),
        ({"zero_terminal_snr": True}, "meant for v_parameterization"),
        ({"xformers": True}, "torch's own attention is used"),
        ({"sample_every_n_epochs": 0}, "no samples are painted"),
        ({"mixed_precision": "bf16"}, "slow on the CPU"),
        ({"clip_skip": 2, "model_train_type": "sdxl-lora"}, "clip_skip has no effect for SDXL."),
        ({"caption_dropout_every_n_epochs": 1}, "no caption is ever used"),
        ({"network_module": "lycoris.kohya", "network_dim": 128, "network_args": ["algo=loha"]},
         "128 is very much for loha"),
    ],
)  # fmt: skip
def test_input_when_doubtful_then_a_warning_only(changed: dict[str, Any], sentence: str) -> None:
    assert any(sentence in told for told in check_options(read_options(good(**changed)).options))


def test_model_when_of_another_family_then_both_are_named() -> None:
    options = read_options(good(model_train_type="sd-lora")).options
    (problem, *_) = find_problems(options, family="sdxl")
    assert problem.is_error and '"a.safetensors" is an SDXL model' in problem.message
    assert "trains SD 1.x" in problem.message


def test_file_when_it_would_be_overwritten_then_refused(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").touch()
    options = read_options(good(output_dir=str(tmp_path), output_name="a")).options
    with pytest.raises(ParamsError, match="would be overwritten"):
        check_options(options)


@pytest.mark.parametrize(
    ("text", "sentence"), [("a = ", "line 1"), ("a = 'b", "line 1"), (None, "does not exist")]
)
def test_file_when_no_toml_then_told_where(tmp_path: Path, text: str | None, sentence: str) -> None:
    path = tmp_path / "x.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ParamsError, match=sentence):
        read_file(path)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [("p.json", b"[1, 2]", "1 is no prompt"), ("p.json", b"3", "no list of prompts"),
     ("p.json", b"{", r'"p.json" is not readable'), ("p.toml", b"[[a", "at line 1"),
     ("p.json", b'{"prompt": {"subset": [4]}}', "4 is no prompt"),
     ("p.txt", b"\xff\xfe", r'"p.txt" is not readable'), ("p.json", b"[" * 9999, "not readable")],
)  # fmt: skip
def test_prompts_when_their_file_holds_something_else_then_told(
    tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ParamsError, match=sentence) as caught:
        read_prompts(str(tmp_path / name))
    assert caught.value.details["field"] == "sample_prompts"


def test_words_when_stray_or_without_value_then_told() -> None:
    with pytest.raises(ParamsError, match='"stray" belongs to no option'):
        read_arguments(["stray"])
    with pytest.raises(ParamsError, match="--seed stands without its value"):
        read_arguments(["--seed", "--cache_latents"])


def test_network_args_when_read_then_numbers_of_each_kind() -> None:
    options = TrainingOptions(
        network_dim=8, network_alpha=0,
        network_args=("conv_dim=4", "conv_alpha=1", "loraplus_unet_lr_ratio=16"),
    )  # fmt: skip
    args = read_network_args(options)
    assert (args.dim, args.alpha, args.conv_dim, args.conv_alpha) == (8, 8, 4, 1.0)
    assert (args.up_ratio("unet"), args.up_ratio("text")) == (16.0, 1.0)


def test_network_args_when_of_lycoris_then_old_and_own_names_are_understood() -> None:
    written = ("algo=LoKr", "use_cp=True", "train_norm=False", "dora_wd=1", "factor=8",
               "constraint=0.5", "wd_on_output=False")  # fmt: skip
    options = TrainingOptions(network_module="lycoris.kohya", network_args=written)
    args = read_network_args(options)
    assert args.algo == "lokr" and args.more == {
        "use_tucker": True, "weight_decompose": True, "factor": 8, "constraint": 0.5,
        "wd_on_out": False,
    }  # fmt: skip


def test_optimizer_when_written_in_any_case_then_found() -> None:
    assert optimizer_name(TrainingOptions(optimizer_type="adamw8bit")) == "AdamW8bit"
    assert optimizer_name(TrainingOptions(use_lion_optimizer=True)) == "Lion"


def test_prompts_when_in_every_form_then_the_same(tmp_path: Path) -> None:
    line = "mychar, red coat --n lowres --w 515 --h 768 --d 42 --l 7 --s 24 --ss k_euler_a"
    (tmp_path / "p.txt").write_text(f"# first\n\n{line}\n")
    (tmp_path / "p.json").write_text(
        '[{"prompt": "mychar, red coat", "negative_prompt": "lowres", "width": 512, "height": 768,'
        ' "seed": 42, "scale": 7, "sample_steps": 24, "sample_sampler": "euler_a"}]'
    )
    (tmp_path / "p.toml").write_text(
        "[prompt]\nwidth = 512\nheight = 768\nnegative_prompt = 'lowres'\nscale = 7\n"
        "sample_steps = 24\nsample_sampler = 'euler_a'\n[[prompt.subset]]\n"
        "prompt = 'mychar, red coat'\nseed = 42\n"
    )
    expected = read_prompts(line)
    assert (expected[0].width, expected[0].sampler, expected[0].cfg_scale) == (512, "euler_a", 7.0)
    for ending in ("txt", "json", "toml"):
        assert read_prompts(str(tmp_path / f"p.{ending}")) == expected


def test_samples_when_several_weights_are_wished_then_each_prompt_at_each_with_one_seed() -> None:
    options = read_options(
        {"sample_prompts": "a cat\na dog --d 7", "sample_weights": "1, 0.5", "seed": 3}
    ).options
    found = [(one.prompt, one.weight, one.seed) for one in pictures_of(options)]
    drawn = found[0][2]
    assert found == [("a cat", 1.0, drawn), ("a cat", 0.5, drawn), ("a dog", 1.0, 7),
                     ("a dog", 0.5, 7)]  # fmt: skip
    assert read_options({"text_encoder_lr": ["1e-5,2e-5"]}).options.text_encoder_lr == (1e-5, 2e-5)


def test_request_when_stored_in_a_job_then_reads_back_with_its_seed(seed_file: Path) -> None:
    options = read_options(read_file(seed_file)).options
    stored = TrainLora(options=options.model_copy(update={"seed": None})).with_seed()
    assert stored.options.seed is not None
    assert from_json(stored.to_json()) == stored
    assert build("train-lora", {"options": {"network_dim": "8"}}).options.network_dim == 8
