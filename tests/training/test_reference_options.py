"""Every option of the reference's command: known under its name, meant alike, and used or told.

The vectors in tests/data/training-options.json are lora-training.md's section 0.1 and its list of
``ext_args``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from webui.errors import ParamsError
from webui.params.training import TrainingOptions
from webui.training.checks import check_options
from webui.training.config import (
    ALWAYS_SO,
    NOT_USED,
    WITHOUT_EFFECT,
    read_command_line,
    read_file,
    read_options,
    write_toml,
)
from webui.training.event_file import CONFIG, EventFile
from webui.training.rates import rate_factor
from webui.training.torch_rates import TORCH_SCHEDULERS

VECTORS = json.loads(
    (Path(__file__).parents[1] / "data/training-options.json").read_text(encoding="utf-8")
)
SAYERS = {
    "checks.py", "config.py", "estimates.py", "presets.py", "metadata.py", "dataset_config.py",
}  # fmt: skip
"""Files that tell of options; that they name one does not show that it is used."""
METADATA = {
    "no_metadata", "no_times", "training_comment", "metadata_title", "metadata_author",
    "metadata_description", "metadata_license", "metadata_tags",
}  # fmt: skip
"""Options whose whole use is what the file tells."""
TOLD_OTHERWISE = {
    "v2": "what the file is counts, and that is said",
    "log_with": "one log is written; another wish is answered",
    "cache_text_encoder_outputs": "encoded captions are kept in memory whenever they can be",
}


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def as_held(option: dict[str, Any]) -> Any:
    """The launcher's value as the schema holds it."""
    value = option["seed"]
    if option["kind"] == "size":
        return [int(part) for part in value.split(",")]
    return [value] if option["kind"] == "floats" else value


@pytest.mark.parametrize("option", VECTORS["options"], ids=lambda option: option["name"])
def test_option_when_of_the_reference_then_known_with_its_default_and_its_value(
    option: dict[str, Any], tmp_path: Path
) -> None:
    name = option["name"]
    assert plain(TrainingOptions.model_fields[name].get_default()) == option["default"]
    words = [f"--{name}"] if option["kind"] == "flag" else [f"--{name}", f"{option['seed']}"]
    by_words = read_command_line(words)
    file = tmp_path / "图 a.toml"
    file.write_text(f"[any]\n{name} = {json.dumps(option['seed'])}\n", encoding="utf-8")
    by_file = read_options(read_file(file))
    assert by_words == by_file and not by_file.notices
    assert plain(getattr(by_file.options, name)) == as_held(option)
    file.write_text(write_toml(by_file.options), encoding="utf-8")
    assert read_options(read_file(file)).options == by_file.options


@pytest.mark.parametrize("extra", VECTORS["ext_args"], ids=lambda extra: extra["words"][0])
def test_words_when_launchers_add_them_then_understood(extra: dict[str, Any]) -> None:
    reading = read_command_line(extra["words"])
    assert not any("is unknown" in sentence for sentence in reading.notices)
    if extra["value"] is None:
        (sentence,) = reading.notices
        assert sentence.startswith(f"{extra['name']} is not used here: ")
        assert "secret" not in sentence
    else:
        assert plain(getattr(reading.options, extra["name"])) == extra["value"]


def test_options_when_all_are_looked_at_then_each_is_used_or_told(project: Path) -> None:
    rooms = ("training", "model_process", "services/training")
    files = [file for room in rooms for file in (project / "webui" / room).glob("*.py")]
    source = {file: file.read_text(encoding="utf-8") for file in files if file.name not in SAYERS}
    told = METADATA | set(TOLD_OTHERWISE) | set(NOT_USED) | set(ALWAYS_SO)
    unused = [
        name
        for name in TrainingOptions.model_fields
        if name not in told
        and not any(re.search(rf"[.\"']{name}\b", text) for text in source.values())
    ]
    assert not unused
    assert told <= set(TrainingOptions.model_fields)
    assert not set(WITHOUT_EFFECT) & set(TrainingOptions.model_fields)


@pytest.mark.parametrize("name", NOT_USED)
def test_option_when_it_is_not_used_then_said_why(name: str) -> None:
    values = {"pretrained_model_name_or_path": "a", "unet_lr": 1e-4, name: True}
    if name == "full_fp16":
        values["mixed_precision"] = "fp16"
    told = check_options(read_options(values).options, device="cuda")
    assert f"{name} is not used here: {NOT_USED[name]}." in told


@pytest.mark.parametrize(
    ("changed", "family", "sentence"),
    [
        ({"log_with": "all", "logging_dir": "l"}, "", "wandb is not used here"),
        ({"log_with": "tensorboard"}, "", "logging_dir is not set, so no log is written."),
        ({"v2": True}, "sd1", 'v2: "a" is an SD 1.x model and is trained as one.'),
        ({"lr_scheduler_type": "ExponentialLR", "lr_scheduler_args": ["gamma=0.9"],
          "lr_warmup_steps": 3}, "", "lr_warmup_steps is not used with lr_scheduler_type."),
    ],
)  # fmt: skip
def test_option_when_it_counts_only_in_part_then_said(
    changed: dict[str, Any], family: str, sentence: str
) -> None:
    values = {"pretrained_model_name_or_path": "a", "unet_lr": 1e-4, **changed}
    told = check_options(read_options(values).options, family=family)
    assert any(sentence in one for one in told)


def test_log_when_the_options_shall_be_in_it_then_no_place_is_told(tmp_path: Path) -> None:
    options = read_options(
        {"logging_dir": str(tmp_path), "log_config": True, "network_dim": 7, "seed": 5,
         "train_data_dir": "/home/me/secret", "sample_prompts": "/home/me/p.txt"}
    ).options  # fmt: skip
    EventFile.of(options).close()
    (written,) = tmp_path.rglob(CONFIG)
    assert read_options(read_file(written)).options.network_dim == 7
    text = written.read_text(encoding="utf-8")
    assert "/home/me" not in text and str(tmp_path) not in text


ARGUMENTS: dict[str, dict[str, Any]] = {
    "ConstantLR": {"factor": 0.25, "total_iters": 4},
    "CosineAnnealingLR": {"T_max": 10, "eta_min": 1e-5},
    "CosineAnnealingWarmRestarts": {"T_0": 3, "T_mult": 2, "eta_min": 1e-5},
    "ExponentialLR": {"gamma": 0.9},
    "LinearLR": {"start_factor": 0.1, "end_factor": 0.9, "total_iters": 7},
    "MultiStepLR": {"milestones": [9, 3], "gamma": 0.5},
    "PolynomialLR": {"total_iters": 12, "power": 2.0},
    "StepLR": {"step_size": 4, "gamma": 0.3},
}


@pytest.mark.parametrize("name", TORCH_SCHEDULERS)
def test_rate_when_a_scheduler_of_torch_is_asked_for_then_as_torch_has_it(name: str) -> None:
    given = tuple(f"{key}={value!r}" for key, value in ARGUMENTS[name].items())
    options = TrainingOptions(lr_scheduler_type=name, lr_scheduler_args=given)
    factor = rate_factor(options, 30, 1e-3)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1e-3)
    theirs = getattr(torch.optim.lr_scheduler, name)(optimizer, **ARGUMENTS[name])
    for step in range(25):
        assert factor(step) * 1e-3 == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize(
    ("kind", "arguments", "sentence"),
    [
        ("StepsLR", (), 'Did you mean "StepLR"'),
        ("StepLR", (), "It takes step_size, gamma"),
        ("StepLR", ("step_size='a'",), "step_size='a'"),
        ("StepLR", ("step_size=0",), "cannot be made of step_size=0"),
        ("CosineAnnealingWarmRestarts", ("T_0=0",), "cannot be made of T_0=0"),
        ("os.system", (), "is unknown"),
    ],
)
def test_rate_when_a_scheduler_of_torch_cannot_be_then_said(
    kind: str, arguments: tuple[str, ...], sentence: str
) -> None:
    options = TrainingOptions(lr_scheduler_type=kind, lr_scheduler_args=arguments)
    with pytest.raises(ParamsError) as found:
        rate_factor(options, 10, 1e-3)
    assert sentence in str(found.value)
