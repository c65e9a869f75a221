"""Training a LoRA: every option of kohya's command, under its name and with its meaning.

One schema for the page, TOML files and the command line. What is wrong with values beside each
other is told by ``webui/training/checks.py``; reading files and old names is
``webui/training/config.py``.

Source: lora-training.md, sections 0 and 3.
"""

from __future__ import annotations

import random
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from webui.params.base import MAX_SEED, Fraction, Params
from webui.params.training_data import Augmenting, Bucketing, Captioning, DatasetOptions, Size
from webui.params.without_painting import WithoutPainting


def _number_list(value: Any) -> Any:
    """``0.5``, ``"1,0.5"`` and ``["1,0.5"]`` as a list of numbers or of texts that may be ones."""
    parts: list[Any] = list(value) if isinstance(value, (list, tuple)) else [value]  # pyright: ignore[reportUnknownArgumentType]
    split: list[list[Any]] = [
        one.replace(",", " ").split() if isinstance(one, str) else [one] for one in parts
    ]
    return [part for some in split for part in some]


def _text_list(value: Any) -> Any:
    return tuple(value.split()) if isinstance(value, str) else value


Number = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Rates = Annotated[tuple[NotNegative, ...], BeforeValidator(_number_list)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_text_list)]
Amount = NotNegative
"""Steps; below 1 a share of all steps."""
Count = Annotated[int, Field(ge=1)]
EveryN = Annotated[int, Field(ge=0)] | None
"""0 and None = never."""


class ModelOptions(Params):
    """What is trained upon.

    Attributes:
        pretrained_model_name_or_path: A checkpoint file, a diffusers folder, or a name that the
            catalog of checkpoints knows.
        model_train_type: ``sd-lora`` or ``sdxl-lora`` refuse a checkpoint of another family.
        v_parameterization: The checkpoint predicts v.
        vae: A file that replaces the checkpoint's VAE.
        clip_skip: 1 = last layer, 2 = the one before; None = 1. Not for SDXL.
        max_token_length: 75, 150 or 225; None = 75.
        weighted_captions: ``(word:1.3)`` in captions counts as in prompts.
        base_weights: LoRA files merged into the checkpoint before, with base_weights_multiplier.
    """

    pretrained_model_name_or_path: str = ""
    model_train_type: Literal["", "sd-lora", "sdxl-lora"] = ""
    v2: bool = False
    v_parameterization: bool = False
    vae: str = ""
    clip_skip: int | None = None
    max_token_length: int | None = None
    weighted_captions: bool = False
    base_weights: Texts = ()
    base_weights_multiplier: Rates = ()


class DataOptions(Captioning, Augmenting, Bucketing):
    """Where pictures are and how they are cached; the rest is in the bases.

    Attributes:
        train_data_dir: Parent of folders named like ``10_mychar``, or a folder of pictures.
        repeats: For ``train_data_dir`` when it holds pictures itself; 0 = ask.
        in_json: Metadata file instead of captions beside pictures.
        dataset_config: File with ``[[datasets]]``; takes the place of all three.
        translate_captions: Chinese in captions, sample prompts and trigger words becomes English,
            as it does in prompts: what is learnt is what will be asked for.
        reg_caption_dropout_rate: Share of uses of regularisation pictures with no caption; None =
            ``caption_dropout_rate``. What is painted for no words is what guidance pushes away
            from: without such pictures a LoRA changes that, too.
        prior_loss_weight: Weight of regularisation pictures.
        cache_latents_to_disk: Implies ``cache_latents``.
        cache_text_encoder_outputs_to_disk: Implies ``cache_text_encoder_outputs``.
        validation_split: Share of the pictures kept back, whose loss is measured.
    """

    train_data_dir: str = ""
    repeats: int = Field(default=0, ge=0)
    reg_data_dir: str = ""
    in_json: str = ""
    dataset_repeats: Count = 1
    dataset_config: str = ""
    resolution: Size = (512, 512)
    train_batch_size: Count = 1
    translate_captions: bool = False
    reg_caption_dropout_rate: Fraction | None = None
    prior_loss_weight: NotNegative = 1.0
    cache_info: bool = False
    skip_broken: bool = False
    cache_latents: bool = False
    cache_latents_to_disk: bool = False
    skip_cache_check: bool = False
    vae_batch_size: Count = 1
    cache_text_encoder_outputs: bool = False
    cache_text_encoder_outputs_to_disk: bool = False
    max_data_loader_n_workers: int = Field(default=8, ge=0)
    persistent_data_loader_workers: bool = False
    validation_split: Fraction = 0.0
    validation_seed: int | None = None
    validate_every_n_epochs: EveryN = None
    validate_every_n_steps: EveryN = None
    max_validation_steps: EveryN = None


class NetworkOptions(Params):
    """The LoRA itself.

    Attributes:
        network_module: ``networks.lora`` (LoRA, LoCon with ``conv_dim``) or ``lycoris.kohya``.
        network_dim: Rank; None = 4. network_alpha: Scale is alpha / rank; 0 = the rank.
        network_args: ``["conv_dim=8", "conv_alpha=4", "rank_dropout=0.1"]``.
        network_weights: A LoRA to begin with.
        dim_from_weights: Take ranks and alphas from it.
        scale_weight_norms: Largest norm of a layer's change; None = no limit.
    """

    network_module: str = "networks.lora"
    network_dim: Count | None = None
    network_alpha: NotNegative = 1.0
    network_dropout: Fraction | None = None
    network_args: Texts = ()
    network_weights: str = ""
    dim_from_weights: bool = False
    network_train_unet_only: bool = False
    network_train_text_encoder_only: bool = False
    stop_text_encoder_training: EveryN = None
    scale_weight_norms: Positive | None = None


class OptimizerOptions(Params):
    """How the LoRA is changed from step to step.

    Attributes:
        max_train_epochs: Wins over ``max_train_steps``.
        learning_rate: Where ``unet_lr`` or ``text_encoder_lr`` is not given.
        optimizer_args: ``["weight_decay=0.01", "betas=0.9,0.99"]``.
        lr_warmup_steps: Below 1 a share of all steps.
        max_grad_norm: Gradients are scaled down to this norm; 0 = never.
        mixed_precision: ``no`` = float32 throughout.
        ema_decay: Of a running mean of the LoRA, which is what is saved; None = no mean.
    """

    max_train_steps: Count = 1600
    max_train_epochs: Count | None = None
    learning_rate: NotNegative | None = None
    unet_lr: NotNegative | None = None
    text_encoder_lr: Rates = ()
    optimizer_type: str = ""
    optimizer_args: Texts = ()
    use_8bit_adam: bool = False
    use_lion_optimizer: bool = False
    lr_scheduler: str = "constant"
    lr_scheduler_type: str = ""
    lr_scheduler_args: Texts = ()
    lr_warmup_steps: Amount = 0
    lr_decay_steps: Amount = 0
    lr_scheduler_num_cycles: Count = 1
    lr_scheduler_power: Number = 1.0
    lr_scheduler_timescale: Count | None = None
    lr_scheduler_min_lr_ratio: Fraction = 0.0
    max_grad_norm: NotNegative = 1.0
    gradient_accumulation_steps: Count = 1
    gradient_checkpointing: bool = False
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"
    full_fp16: bool = False
    full_bf16: bool = False
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)


class LossOptions(Params):
    """Noise and loss; see section 3.4 and 3.5."""

    min_timestep: int = Field(default=0, ge=0, le=1000)
    max_timestep: int = Field(default=1000, ge=0, le=1000)
    noise_offset: Number | None = None
    noise_offset_random_strength: bool = False
    adaptive_noise_scale: Number | None = None
    multires_noise_iterations: int = Field(default=0, ge=0)
    multires_noise_discount: Number = 0.3
    ip_noise_gamma: Number | None = None
    ip_noise_gamma_random_strength: bool = False
    zero_terminal_snr: bool = False
    loss_type: Literal["l2", "l1", "huber", "smooth_l1"] = "l2"
    huber_schedule: Literal["constant", "exponential", "snr"] = "snr"
    huber_c: Positive = 0.1
    huber_scale: Positive = 1.0
    min_snr_gamma: Number | None = None
    scale_v_pred_loss_like_noise_pred: bool = False
    v_pred_like_loss: Number | None = None
    debiased_estimation_loss: bool = False


class DeviceOptions(Params):
    """What decides speed and memory, never the result (but for rounding)."""

    no_half_vae: bool = False
    lowram: bool = False
    highvram: bool = False
    xformers: bool = False
    sdpa: bool = False
    mem_eff_attn: bool = False
    fp8_base: bool = False
    fp8_base_unet: bool = False
    torch_compile: bool = False


class SavingOptions(Params):
    """What is written, where and when.

    Attributes:
        output_dir: Created when missing; "" = the program's own folder for trainings.
        save_precision: Of every tensor in the file; None = as trained.
        save_last_n_epochs: Older files of the run are removed.
        save_state: Also everything that is needed to go on, beside each file.
        resume: Such a folder.
        no_metadata: Only what other programs need to load the file.
        no_times: Nothing of when it was trained stands in the file: the same training gives the
            same file again, byte for byte (on the CPU).
        has_tag_frequency: The captions' words are told in the file.
    """

    output_dir: str = ""
    output_name: str = ""
    save_precision: Literal["float", "fp16", "bf16"] | None = None
    save_model_as: Literal["safetensors", "ckpt", "pt"] = "safetensors"
    save_every_n_epochs: EveryN = None
    save_every_n_steps: EveryN = None
    save_n_epoch_ratio: EveryN = None
    save_last_n_epochs: EveryN = None
    save_last_n_steps: EveryN = None
    save_last_n_epochs_state: EveryN = None
    save_last_n_steps_state: EveryN = None
    save_state: bool = False
    save_state_on_train_end: bool = False
    resume: str = ""
    no_metadata: bool = False
    no_times: bool = False
    has_tag_frequency: bool = True
    training_comment: str = ""
    metadata_title: str = ""
    metadata_author: str = ""
    metadata_description: str = ""
    metadata_license: str = ""
    metadata_tags: str = ""
    trigger_words: str = ""


class SampleOptions(Params):
    """Pictures painted while training, and logs.

    Attributes:
        sample_prompts: A ``.txt``, ``.toml`` or ``.json`` file, or the prompts themselves,
            one a line.
        sample_weights: Every prompt is painted with the LoRA at each of these weights; () = at 1.
        sample_every_n_epochs: Wins over ``sample_every_n_steps``.
        logging_dir: Where TensorBoard's files go; "" = none.
    """

    sample_prompts: str = ""
    sample_weights: Annotated[tuple[Number, ...], BeforeValidator(_number_list)] = ()
    sample_every_n_epochs: int | None = None
    sample_every_n_steps: int | None = None
    sample_at_first: bool = False
    sample_sampler: str = "ddim"
    logging_dir: str = ""
    log_with: Literal["", "tensorboard", "wandb", "all"] = ""
    log_prefix: str = ""
    log_tracker_name: str = ""
    log_config: bool = False


class TrainingOptions(
    ModelOptions, DataOptions, NetworkOptions, OptimizerOptions, LossOptions, DeviceOptions,
    SavingOptions, SampleOptions,
):  # fmt: skip
    """All options, flat, as in a kohya TOML file."""


class TrainLora(WithoutPainting):
    """Train a LoRA.

    Attributes:
        options: Every option; ``seed`` is drawn when it is stored.
        datasets: The pictures; empty = those that the options' folders and files name.
    """

    kind: Literal["train-lora"] = "train-lora"
    options: TrainingOptions
    datasets: tuple[DatasetOptions, ...] = ()

    def with_seed(self) -> TrainLora:
        """The same with a seed: its own, or one drawn now."""
        if self.options.seed is not None:
            return self
        seed = random.SystemRandom().randrange(2**32)
        return self.model_copy(update={"options": self.options.model_copy(update={"seed": seed})})
