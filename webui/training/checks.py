"""What is wrong with a training before anything is loaded, in sentences; no torch.

The page marks the field, the command line prints the same sentence.

Source: lora-training.md, section 7.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from webui.checkpoints.families import title_of
from webui.errors import ParamsError
from webui.params.training import TrainingOptions
from webui.training.config import NOT_USED
from webui.training.network_args import BlockPlan, nearest, read_network_args
from webui.training.notices import Notice
from webui.training.optimizer_names import KINDS, optimizer_name
from webui.training.rates import rate_factor
from webui.training.samples import read_prompts, sampler_word
from webui.training.steps import file_stem

MODULES: Final = ("networks.lora", "lycoris.kohya")
LENGTHS: Final = (None, 75, 150, 225)
LAYERS: Final = {"": 12, "sd1": 12, "sd2": 23}
TRAINED: Final = {"sd-lora": ("sd1", "sd2"), "sdxl-lora": ("sdxl",)}
LOW_RATE: Final = 1e-5
PRODUCTS: Final = ("loha", "lokr")
MOST_OF_PRODUCTS: Final = 64
"""Rank of LyCORIS' products of matrices from which on they only grow."""
_FORBIDDEN: Final = re.compile(r'[/\\:*?"<>|\x00-\x1f]')


@dataclass(frozen=True)
class Problem:
    """One sentence.

    Attributes:
        field: The option at fault. is_error: The training cannot start.
    """

    field: str
    message: str
    is_error: bool = True


def find_problems(
    options: TrainingOptions, *, family: str = "", device: str = "cpu"
) -> list[Problem]:
    """Everything that can be said of the options alone, errors first.

    Args:
        family: Of the checkpoint, when it is known already.
        device: ``cpu``, ``cuda`` …
    """
    found: list[Problem] = []
    for check in (_model, _caches, _network, _parts, _rates, _loss, _samples, _log, _saving):
        try:
            found += check(options, family)
        except ParamsError as err:
            found.append(Problem(str(err.details.get("field", "")), str(err)))
    found += _device(options, device)
    return sorted(found, key=lambda problem: not problem.is_error)


def check_options(options: TrainingOptions, *, family: str = "", device: str = "cpu") -> list[str]:
    """Refuse what cannot be trained.

    Returns:
        Warnings.
    Raises:
        ParamsError: The first error (``field``).
    """
    problems = find_problems(options, family=family, device=device)
    for problem in problems:
        if problem.is_error:
            raise ParamsError(problem.message, field=problem.field)
    return [problem.message for problem in problems]


def with_model_type(options: TrainingOptions, family: str) -> TrainingOptions:
    """The options with the type of training that fits the checkpoint, where they leave it open."""
    fitting = [kind for kind, families in TRAINED.items() if family in families]
    if options.model_train_type or not fitting:
        return options
    return options.model_copy(update={"model_train_type": fitting[0]})


def _model(options: TrainingOptions, family: str) -> Iterator[Problem]:
    if not options.pretrained_model_name_or_path:
        yield Problem("pretrained_model_name_or_path", "No checkpoint to train upon was chosen.")
    name = Path(options.pretrained_model_name_or_path).name
    wanted = TRAINED.get(options.model_train_type, ())
    every = [one for families in TRAINED.values() for one in families]
    if family and family not in every:
        yield Problem(
            "pretrained_model_name_or_path",
            f'pretrained_model_name_or_path: "{name}" is an {title_of(family)} model; LoRAs are '
            f"trained on {', '.join(map(title_of, every))} here. Choose another file.",
        )
    elif family and wanted and family not in wanted:
        yield Problem(
            "pretrained_model_name_or_path",
            f'pretrained_model_name_or_path: "{name}" is an {title_of(family)} model; '
            f"this job trains {title_of(wanted[0])}. Choose another file, or switch the model type "
            f"to {title_of(family)}.",
        )
    if options.v2 and family and family != "sd2":
        yield Problem(
            "v2", f'v2: "{name}" is an {title_of(family)} model and is trained as one.', False
        )
    if options.max_token_length not in LENGTHS:
        yield Problem(
            "max_token_length",
            f"max_token_length: {options.max_token_length} is not possible; use 75, 150 or 225.",
        )
    skip, is_sdxl = options.clip_skip, family == "sdxl" or options.model_train_type == "sdxl-lora"
    if skip is not None and is_sdxl:
        yield Problem("clip_skip", "clip_skip has no effect for SDXL.", is_error=False)
    elif skip is not None and not 1 <= skip <= LAYERS.get(family, 12):
        yield Problem(
            "clip_skip",
            f"clip_skip: {skip} is out of range. 1 means no skip; "
            f"{title_of(family) or 'SD1.5'} allows 1 to {LAYERS.get(family, 12)}.",
        )
    if options.weighted_captions and options.shuffle_caption:
        yield Problem(
            "weighted_captions",
            "weighted_captions with shuffle_caption: commas inside brackets are torn apart.",
            is_error=False,
        )
    if options.zero_terminal_snr and not options.v_parameterization:
        yield Problem(
            "zero_terminal_snr", "zero_terminal_snr is meant for v_parameterization.", False
        )


def _caches(options: TrainingOptions, family: str) -> Iterator[Problem]:
    if options.cache_latents or options.cache_latents_to_disk:
        for name in ("color_aug", "random_crop"):
            if getattr(options, name):
                yield Problem(
                    name,
                    f"cache_latents cannot be used with {name}: cached pictures cannot change. "
                    "Switch one of them off. (flip_aug is fine.)",
                )
    if options.cache_text_encoder_outputs or options.cache_text_encoder_outputs_to_disk:
        for name in (
            "shuffle_caption", "caption_dropout_rate", "token_warmup_step",
            "caption_tag_dropout_rate", "reg_caption_dropout_rate", "enable_wildcard",
        ):  # fmt: skip
            if getattr(options, name):
                yield Problem(
                    name,
                    "cache_text_encoder_outputs needs captions that never change: switch off "
                    f"{name}, or this cache.",
                )
        if not options.network_train_unet_only:
            yield Problem(
                "cache_text_encoder_outputs",
                "cache_text_encoder_outputs needs network_train_unet_only.",
            )
    if options.caption_dropout_every_n_epochs == 1:
        yield Problem(
            "caption_dropout_every_n_epochs",
            str(Notice("caption_dropped_always")),
            is_error=False,
        )


def _network(options: TrainingOptions, family: str) -> Iterator[Problem]:
    if options.network_module not in MODULES:
        yield Problem(
            "network_module",
            f'network_module: "{options.network_module}" is unknown; choose networks.lora or '
            f"lycoris.kohya.{nearest(options.network_module, MODULES)}",
        )
    else:
        args = read_network_args(options)
        BlockPlan(args, family or "sd1")
        if args.algo in PRODUCTS and args.dim > MOST_OF_PRODUCTS:
            yield Problem(
                "network_dim",
                f"network_dim: {args.dim} is very much for {args.algo}, whose ranks multiply; "
                f"{MOST_OF_PRODUCTS} and less are usual.",
                is_error=False,
            )
    for name in ("network_weights", "resume", "vae"):
        path = getattr(options, name)
        if path and not Path(path).exists():
            yield Problem(name, f'{name}: "{path}" does not exist.')
    for path in options.base_weights:
        if not Path(path).exists():
            yield Problem("base_weights", f'base_weights: "{path}" does not exist.')


def _parts(options: TrainingOptions, family: str) -> Iterator[Problem]:
    no_unet, no_text = options.network_train_text_encoder_only, options.network_train_unet_only
    if no_unet and no_text:
        yield Problem(
            "network_train_unet_only",
            "Nothing would be trained: network_train_unet_only and "
            "network_train_text_encoder_only exclude each other.",
        )
        return
    rates = [] if no_unet else [_or_usual(options.unet_lr, options)]
    if not no_text:
        rates.append(_or_usual(next(iter(options.text_encoder_lr), None), options))
    if not any(rates):
        yield Problem("learning_rate", "Nothing would be trained: both learning rates are 0.")


def _or_usual(rate: float | None, options: TrainingOptions) -> float:
    if rate is not None:
        return rate
    return 2e-6 if options.learning_rate is None else options.learning_rate


def _rates(options: TrainingOptions, family: str) -> Iterator[Problem]:
    name = optimizer_name(options)
    kind = KINDS[name]
    # warm-up below 1 is a share; against a count the true length is checked when it is known
    rate_factor(options, max(2, int(options.lr_warmup_steps) + 1), 1.0)
    if options.lr_scheduler_type and options.lr_warmup_steps:
        yield Problem(
            "lr_warmup_steps", "lr_warmup_steps is not used with lr_scheduler_type.", False
        )
    rate = _or_usual(options.unet_lr, options)
    has_unet = not options.network_train_text_encoder_only
    if kind.finds_rate and has_unet and rate <= 0.1:
        yield Problem(
            "unet_lr", f"{name} expects a rate near 1.0; you set {rate:g}.", is_error=False
        )
    if kind.finds_rate:
        text = _or_usual(next(iter(options.text_encoder_lr), None), options)
        has_both = has_unet and not options.network_train_unet_only
        if has_both and text != rate:
            yield Problem(
                "text_encoder_lr", f"{name} uses one rate for all parts: the first counts.", False
            )
        if any("loraplus" in text for text in options.network_args):
            yield Problem(
                "network_args", f"network_args: loraplus_lr_ratio does not work with {name}."
            )
    elif name != "Adafactor" and has_unet and 0 < rate < LOW_RATE:
        yield Problem(
            "unet_lr",
            f"The learning rate {rate:g} is very low; 1e-4 is usual with {name}.",
            is_error=False,
        )


def _loss(options: TrainingOptions, family: str) -> Iterator[Problem]:
    if options.adaptive_noise_scale is not None and options.noise_offset is None:
        yield Problem("adaptive_noise_scale", "adaptive_noise_scale needs noise_offset.")
    if options.scale_v_pred_loss_like_noise_pred and not options.v_parameterization:
        yield Problem(
            "scale_v_pred_loss_like_noise_pred",
            "scale_v_pred_loss_like_noise_pred needs v_parameterization.",
        )
    if options.v_pred_like_loss and options.v_parameterization:
        yield Problem(
            "v_pred_like_loss", "v_pred_like_loss cannot be used with v_parameterization."
        )
    if options.max_timestep < options.min_timestep:
        yield Problem(
            "max_timestep",
            f"max_timestep ({options.max_timestep}) must not be less than min_timestep "
            f"({options.min_timestep}).",
        )


def _samples(options: TrainingOptions, family: str) -> Iterator[Problem]:
    if options.sample_prompts:
        read_prompts(options.sample_prompts)
        sampler_word(options.sample_sampler)
    for name in ("sample_every_n_epochs", "sample_every_n_steps"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            yield Problem(name, f"{name} is {value}: no samples are painted by it.", False)


def _log(options: TrainingOptions, family: str) -> Iterator[Problem]:
    if options.log_with in ("wandb", "all"):
        yield Problem(
            "log_with",
            f"log_with {options.log_with}: wandb is not used here, since nothing is sent to other "
            "machines. TensorBoard's log is written when logging_dir is set.",
            is_error=False,
        )
    if not options.logging_dir and (options.log_with == "tensorboard" or options.log_config):
        yield Problem("logging_dir", "logging_dir is not set, so no log is written.", False)


def _saving(options: TrainingOptions, family: str) -> Iterator[Problem]:
    name = options.output_name
    if _FORBIDDEN.search(name) or name.strip(" .") != name:
        yield Problem(
            "output_name",
            f'output_name: "{name}" cannot be a file name. Leave out / \\ : * ? " < > | and '
            "blanks or dots at its ends.",
        )
        return
    if options.output_dir and not options.resume:
        file = Path(options.output_dir) / f"{file_stem(options)}.{options.save_model_as}"
        if file.exists():
            yield Problem(
                "output_name",
                f'output_name: "{file.name}" exists in "{options.output_dir}" and would be '
                "overwritten. Choose another name.",
            )


def _device(options: TrainingOptions, device: str) -> Iterator[Problem]:
    precision = options.mixed_precision
    if device == "cpu" and precision == "fp16":
        yield Problem(
            "mixed_precision",
            'mixed_precision: fp16 does not work on the CPU. Choose "no".',
        )
    if device == "cpu" and precision == "bf16":
        yield Problem("mixed_precision", "mixed_precision bf16 is slow on the CPU.", False)
    for name, why in NOT_USED.items():
        if getattr(options, name):
            yield Problem(name, f"{name} is not used here: {why}.", False)
    for name, wanted in (("full_fp16", "fp16"), ("full_bf16", "bf16")):
        if getattr(options, name) and precision != wanted:
            yield Problem(name, f"{name} needs mixed_precision {wanted}.")
