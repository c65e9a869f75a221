"""What a LoRA file tells of its training. Every value is text.

Source: lora-training.md, section 4.4. No absolute path and nothing secret goes in.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import webui
from webui.checkpoints.hashes import old_hash, sha256_of_file
from webui.networks.lora import kohya
from webui.params.training import TrainingOptions
from webui.training.lora_file import MINIMUM_KEYS
from webui.training.network_args import DEFAULT_DIM, split_pairs
from webui.training.steps import Length

_SAME_NAME: Final = (
    "gradient_checkpointing", "gradient_accumulation_steps", "lr_scheduler", "lr_warmup_steps",
    "max_grad_norm", "network_module", "network_dropout", "mixed_precision", "full_fp16",
    "fp8_base", "fp8_base_unet", "lowram", "v2", "clip_skip", "max_token_length", "keep_tokens",
    "shuffle_caption", "caption_dropout_rate", "caption_dropout_every_n_epochs",
    "caption_tag_dropout_rate", "color_aug", "flip_aug", "random_crop", "face_crop_aug_range",
    "resize_interpolation", "cache_latents", "noise_offset", "noise_offset_random_strength",
    "adaptive_noise_scale", "multires_noise_iterations", "multires_noise_discount",
    "ip_noise_gamma", "ip_noise_gamma_random_strength", "zero_terminal_snr", "prior_loss_weight",
    "min_snr_gamma", "scale_weight_norms", "loss_type", "huber_schedule", "huber_scale",
    "huber_c", "validation_seed", "validation_split", "max_validation_steps",
    "validate_every_n_epochs", "validate_every_n_steps", "seed", "enable_bucket",
    "bucket_no_upscale", "min_bucket_reso", "max_bucket_reso", "resolution", "learning_rate",
    "unet_lr", "output_name", "network_dim",
)  # fmt: skip
"""Options that stand in the file under ``ss_`` and their own name."""
_TIMES: Final = ("ss_training_started_at", "ss_training_finished_at", "modelspec.date")
_OF_ONE_DATASET: Final = ("ss_bucket_info", "ss_dataset_dirs", "ss_reg_dataset_dirs")


@dataclass(frozen=True)
class Hashes:
    """By which a checkpoint or VAE is known: the old eight digits, and SHA-256."""

    name: str
    old: str
    new: str

    @classmethod
    def of(cls, path: Path, sha256: str | None = None) -> Hashes:
        """Of a file; folders have none."""
        if not path.is_file():
            return cls(path.name, "", "")
        return cls(path.name, old_hash(path), sha256 or sha256_of_file(path))


@dataclass(frozen=True)
class RunFacts:
    """What is the same in all files of a training.

    Attributes:
        dataset: ``DatasetFacts.metadata``. optimizer: ``module.Class(args)``.
        session: Any number as text. started_at: Unix seconds.
    """

    options: TrainingOptions
    family: str
    length: Length
    batches_per_epoch: int
    processes: int
    dataset: Mapping[str, str]
    optimizer: str
    checkpoint: Hashes
    vae: Hashes | None
    session: str
    started_at: float


def file_metadata(run: RunFacts, *, epoch: int, step: int, now: float) -> dict[str, str]:
    """The metadata of one file, hashes of its own tensors aside.

    Args:
        epoch: At the save, from 1. step: Steps done. now: Unix seconds.
    """
    options = run.options
    told = {f"ss_{name}": str(getattr(options, name)) for name in _SAME_NAME}
    batch, accumulation = options.train_batch_size, options.gradient_accumulation_steps
    rates = options.text_encoder_lr
    told |= {
        "ss_session_id": run.session,
        "ss_training_started_at": str(run.started_at),
        "ss_training_finished_at": str(now),
        "ss_text_encoder_lr": str(rates[0] if len(rates) == 1 else list(rates) or None),
        "ss_learning_rate": str(options.learning_rate),
        "ss_network_dim": str(options.network_dim or DEFAULT_DIM),
        "ss_network_alpha": str(options.network_alpha),
        "ss_num_batches_per_epoch": str(run.batches_per_epoch),
        "ss_num_epochs": str(run.length.epochs),
        "ss_epoch": str(epoch),
        "ss_steps": str(step),
        "ss_max_train_steps": str(run.length.steps),
        "ss_batch_size_per_device": str(batch),
        "ss_total_batch_size": str(batch * run.processes * accumulation),
        "ss_optimizer": run.optimizer,
        "ss_base_model_version": base_version(run),
        "ss_debiased_estimation": str(options.debiased_estimation_loss),
        "ss_training_comment": str(options.training_comment or None),
        "ss_trainer": f"danqing-webui {webui.__version__}",
        **file_hashes("ss_sd_model", "ss_new_sd_model_hash", run.checkpoint),
        **(file_hashes("ss_vae", "ss_new_vae_hash", run.vae) if run.vae else {}),
        **run.dataset,
    }
    if options.network_args:
        told["ss_network_args"] = json.dumps(split_pairs(options.network_args, "network_args"))
    if "ss_datasets" in told:
        told = {key: value for key, value in told.items() if key not in _OF_ONE_DATASET}
    if not options.has_tag_frequency:
        told.pop("ss_tag_frequency", None)
    if options.no_metadata:
        told = {key: value for key, value in told.items() if key in MINIMUM_KEYS}
    told = {**told, **model_spec(run, now)}
    return {key: value for key, value in told.items() if not (options.no_times and key in _TIMES)}


def file_hashes(prefix: str, new_key: str, hashes: Hashes) -> dict[str, str]:
    """Name and hashes of a file under kohya's keys."""
    found = {
        f"{prefix}_name": hashes.name, f"{prefix}_hash": hashes.old, new_key: hashes.new,
    }  # fmt: skip
    return {key: value for key, value in found.items() if value}


def base_version(run: RunFacts) -> str:
    """kohya's word for the family, from which readers decide what a file is for."""
    return kohya.base_version(run.family, is_v=bool(run.options.v_parameterization))


def model_spec(run: RunFacts, now: float) -> dict[str, str]:
    """Stability AI's own keys.

    Source:
        github.com/Stability-AI/ModelSpec, 1.0.1.
    """
    options, is_sdxl = run.options, run.family == "sdxl"
    moment = datetime.datetime.fromtimestamp(int(now), datetime.timezone.utc)
    when = moment.replace(tzinfo=None).isoformat()
    nameless = "LoRA" if options.no_times else f"LoRA@{int(now)}"
    width, height = options.resolution
    told = {
        "sai_model_spec": "1.0.1",
        "architecture": kohya.architecture(run.family, is_v=bool(options.v_parameterization)),
        "implementation": kohya.implementation(run.family),
        "title": options.metadata_title or options.output_name or nameless,
        "resolution": f"{width}x{height}",
        "date": when,
        "prediction_type": "v" if options.v_parameterization else "epsilon",
        "author": options.metadata_author,
        "description": options.metadata_description,
        "license": options.metadata_license,
        "tags": options.metadata_tags,
        "trigger_phrase": options.trigger_words,
        "encoder_layer": str(options.clip_skip or "") if not is_sdxl else "",
    }
    if (options.min_timestep, options.max_timestep) != (0, 1000):
        told["timestep_range"] = f"{options.min_timestep},{options.max_timestep}"
    return {f"modelspec.{key}": value for key, value in told.items() if value}


def session_id(seed: int, same: Mapping[str, object]) -> str:
    """A number that all files of a training have in common and no other training has."""
    text = json.dumps([seed, dict(same)], sort_keys=True, default=str)
    return str(int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big"))
