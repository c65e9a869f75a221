"""Reads trainings from kohya's TOML files and command lines, and writes them; no torch.

Whatever the way in, values end in one schema, with the same messages.

Source: lora-training.md, section 0.2.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import tomlkit
from pydantic import ValidationError

from webui.errors import ParamsError
from webui.params import params_error
from webui.params.training import (
    DataOptions,
    DeviceOptions,
    LossOptions,
    ModelOptions,
    NetworkOptions,
    OptimizerOptions,
    SampleOptions,
    SavingOptions,
    TrainingOptions,
)
from webui.training.network_args import nearest
from webui.training.written import parse_toml, read_text

ALIASES: Final = {
    "lr_restart_cycles": "lr_scheduler_num_cycles",
    "caption_extention": "caption_extension",
    "epoch": "max_train_epochs",
    "max_train_epoches": "max_train_epochs",
    "batch_size": "train_batch_size",
    "logging_prefix": "log_prefix",
    "metadata_trigger_phrase": "trigger_words",
}
"""Names seen in the wild → ours."""
OWN_WORDS: Final = frozenset({"config_file", "output_config"})
"""The command's own; in a file they say nothing."""
WITHOUT_EFFECT: Final = {
    **dict.fromkeys(
        ("wandb_api_key", "wandb_run_name"),
        "nothing is sent to other machines; TensorBoard's log is written",
    ),
    **dict.fromkeys(
        ("num_processes", "multi_gpu", "gpu_ids"),
        "say --num_processes behind the command, not in the file",
    ),
    **dict.fromkeys(
        ("ddp_timeout", "ddp_gradient_as_bucket_view", "ddp_static_graph"),
        "processes average their gradients in one piece and wait for each other for a day",
    ),
    **dict.fromkeys(
        ("console_log_level", "console_log_simple", "console_log_file"),
        "the program's own log is written",
    ),
    "num_cpu_threads_per_process": "the cores are shared out by themselves",
    "tokenizer_cache_dir": "the words of CLIP come with the program",
    "dynamo_backend": "networks are not compiled",
    "opt_channels_last": "torch chooses the layout of weights itself",
    "debug_dataset": "the plan of a training and the look over its pictures show the same",
    "max_data_loader_n_workers_persistent": "threads read the pictures",
    "training_model_type": "model_train_type says it, or the checkpoint",
    "huggingface_repo_id": "nothing is sent to other machines",
    "disable_mmap_load_safetensors": "files are read as is best for the machine",
    "ui_custom_params": "write the options themselves",
    "sample_negative": "write --n behind a prompt of sample_prompts",
}
"""kohya's and its pages' names that are not used here → why."""
NOT_USED: Final = {
    "xformers": "torch's own attention is used; it is as quick",
    "mem_eff_attn": "torch's own attention is used; it is as quick",
    "torch_compile": "layers that are changed while they learn would be compiled over and over",
    "fp8_base": "weights stay as they are loaded; gradient_checkpointing saves more memory",
    "fp8_base_unet": "weights stay as they are loaded; gradient_checkpointing saves more memory",
    "full_fp16": "a LoRA learns in float32, since gradients in fp16 vanish; full_bf16 works",
    "skip_cache_check": "files that were kept are always looked at, which takes no time",
}
"""Options of our own schema that are read and not used → why; they are told when they are set."""
ALWAYS_SO: Final = {
    "sdpa": "torch's attention is the only one",
    "lowram": "weights are read straight to the device",
    "highvram": "the device's memory is not given back in between",
    "cache_info": "sizes of pictures are kept while the program runs, and read anew when changed",
    "persistent_data_loader_workers": "threads read pictures; they cost nothing to begin",
}
"""Options of our own schema that ask for what is done anyway → why."""
SECTIONS: Final = {
    "model": ModelOptions, "data": DataOptions, "network": NetworkOptions,
    "training": OptimizerOptions, "noise_and_loss": LossOptions, "device": DeviceOptions,
    "saving": SavingOptions, "samples_and_log": SampleOptions,
}  # fmt: skip
"""Headings of a written file; they carry no meaning."""
PLACES: Final = frozenset(
    {
        "train_data_dir", "reg_data_dir", "in_json", "dataset_config", "output_dir", "logging_dir",
        "pretrained_model_name_or_path", "vae", "network_weights", "resume", "base_weights",
        "sample_prompts",
    }
)  # fmt: skip
"""Options that name, or may name, files and folders of the machine."""
_ZERO_IS_OFF: Final = frozenset(
    {
        "clip_skip", "max_token_length", "max_train_epochs", "min_snr_gamma",
        "scale_weight_norms", "ema_decay", "lr_scheduler_timescale",
    }
)  # fmt: skip
_FIELDS: Final = TrainingOptions.model_fields


@dataclass(frozen=True)
class Reading:
    """Options that were read.

    Attributes:
        notices: Sentences about names and values that were taken another way.
    """

    options: TrainingOptions
    notices: tuple[str, ...] = ()


def read_file(path: Path) -> dict[str, Any]:
    """The values of a TOML file; sections are merged, a later one wins.

    Args:
        path: ``.toml`` may be left out.
    Raises:
        ParamsError: It is not there, or no TOML (names the line).
    """
    if not path.suffix:
        path = path.with_suffix(".toml")
    text = read_text(path, "config_file")
    return flat(parse_toml(text, f'config_file: "{path.name}" is not readable', "config_file"))


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Merge sections."""
    merged: dict[str, Any] = {}
    for key, value in values.items():
        merged.update(flat(value) if isinstance(value, Mapping) else {key: value})
    return merged


def read_options(values: Mapping[str, Any]) -> Reading:
    """Values under kohya's names as options.

    Args:
        values: As in a file or on the command line; text for numbers is fine, "" = not set.
    Raises:
        ParamsError: A value that cannot be (``field``).
    """
    notices: list[str] = []
    known: dict[str, Any] = {}
    for key, value in values.items():
        name = ALIASES.get(key, key)
        if name in OWN_WORDS or value is None or value == "":
            continue
        if name in WITHOUT_EFFECT:
            notices.append(f"{key} is not used here: {WITHOUT_EFFECT[name]}.")
            continue
        if name not in _FIELDS:
            notices.append(f'"{key}" is unknown and was left out.{nearest(key, _FIELDS)}')
            continue
        if key in ALIASES:
            notices.append(f'"{key}" is read as "{name}".')
        if value in (0, "0") and name in _ZERO_IS_OFF and not isinstance(value, bool):
            continue
        if name == "max_token_length" and str(value) == "255":
            notices.append("max_token_length: 255 is not possible; 225 is used.")
            value = 225
        known[name] = tuple(value) if isinstance(value, list) else value
    if known.get("cache_latents_to_disk"):
        known["cache_latents"] = True
    try:
        return Reading(TrainingOptions.model_validate(known), tuple(notices))
    except ValidationError as err:
        raise _said_plainly(err) from err


def _said_plainly(err: ValidationError) -> ParamsError:
    first = err.errors()[0]
    field = str(first["loc"][0]) if first["loc"] else ""
    value, kind, context = first.get("input"), first["type"], first.get("ctx", {})
    if field == "resolution":
        text = (
            f'resolution: "{value}" is not a size. Write one number (512) or width,height '
            "(512,768), each a multiple of 64."
        )
    elif kind in ("float_parsing", "float_type", "finite_number"):
        text = f'{field}: "{value}" is not a number; write 0.0001 or 1e-4.'
    elif kind in ("int_parsing", "int_type", "int_from_float"):
        text = f"{field}: {value} must be a whole number."
    elif kind == "greater_than_equal" and field in _WHOLE:
        text = f"{field}: {value} must be a whole number of at least {context['ge']}."
    elif kind == "greater_than_equal":
        text = f"{field}: {value} must be at least {context['ge']:g}."
    elif kind == "less_than_equal":
        text = f"{field}: {value} must be at most {context['le']:g}."
    elif kind == "literal_error":
        text = f'{field}: "{value}" is unknown; choose {context["expected"]}.'
    else:
        return params_error(err)
    return ParamsError(text, field=field)


def plain_types(annotation: Any) -> set[Any]:
    """The simple types that a field may hold; the words of a choice as a tuple."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return plain_types(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return set().union(*map(plain_types, typing.get_args(annotation)))
    if origin is Literal:
        return {typing.get_args(annotation)}
    return {origin or annotation}


_TYPES: Final = {name: plain_types(info.annotation) for name, info in _FIELDS.items()}
_WHOLE: Final = frozenset(name for name, found in _TYPES.items() if int in found)
_FLAGS: Final = frozenset(name for name, found in _TYPES.items() if bool in found)
_LISTS: Final = frozenset(
    name for name, found in _TYPES.items() if tuple in found and name != "resolution"
)


def read_arguments(words: Sequence[str]) -> dict[str, Any]:
    """The values of a command line: ``--name value``, ``--name=value``, ``--flag``, ``--no-flag``.

    Raises:
        ParamsError: A word that belongs to no option, or an option without its value.
    """
    values: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise ParamsError(f'"{word}" belongs to no option.', "Options begin with --.")
        name, equals, value = word[2:].partition("=")
        name = name.replace("-", "_")
        if name.startswith("no_") and name not in _FIELDS and name[3:] in _FLAGS:
            values[name[3:]] = False
        elif ALIASES.get(name, name) in _FLAGS and not equals:
            values[name] = True
        elif equals:
            values[name] = (value,) if name in _LISTS else value
        elif name in _LISTS:
            found: list[str] = []
            while rest and not rest[0].startswith("--"):
                found.append(rest.pop(0))
            values[name] = tuple(found)
        elif rest and not rest[0].startswith("--"):
            values[name] = rest.pop(0)
        elif name in WITHOUT_EFFECT or name not in _FIELDS:
            values[name] = True
        else:
            raise ParamsError(f"--{name} stands without its value.", field=name)
    return values


def read_command_line(words: Sequence[str]) -> Reading:
    """A whole command line; ``--config_file`` is read first, what stands beside it wins.

    Raises:
        ParamsError: As ``read_file`` and ``read_options``.
    """
    own = read_arguments(words)
    file = own.pop("config_file", "")
    stored = read_file(Path(file)) if file else {}
    named = {ALIASES.get(key, key): value for key, value in own.items()}
    return read_options({**{k: v for k, v in stored.items() if k not in named}, **own})


def without_paths(options: TrainingOptions) -> TrainingOptions:
    """The options without what names files and folders of this machine."""
    unset = {name: _FIELDS[name].get_default(call_default_factory=True) for name in PLACES}
    return options.model_copy(update=unset)


def write_toml(options: TrainingOptions) -> str:
    """The options that differ from their defaults, as a TOML file that ``read_file`` takes."""
    changed = options.model_dump(mode="json", exclude_defaults=True)
    document = tomlkit.document()
    for title, kind in SECTIONS.items():
        table = tomlkit.table()
        for name in kind.model_fields:
            if name in changed and changed[name] is not None:
                table.add(name, _toml_value(name, changed[name]))
        if len(table):
            document.add(title, table)
    return tomlkit.dumps(document)


def _toml_value(name: str, value: Any) -> Any:
    if name == "resolution":
        return ",".join(map(str, value))
    if name == "text_encoder_lr" and len(value) == 1:
        return value[0]
    return value
