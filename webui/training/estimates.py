"""How long a training takes and how much memory it needs, before it begins; no torch.

Steps are exact. Memory is arithmetic over the model's own tensors and counted values; it was
compared with one measured training, of SD 1.5 on a CPU (``benchmarks/RESULTS.md``). Time follows
from trainings or, failing that, pictures that this machine has made; on one that has made neither
yet, roughly from how fast it calculates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from webui.checkpoints.headers import TensorInfo
from webui.params.training import TrainingOptions
from webui.training.captions import varies
from webui.training.dataset_plan import PicturePlan
from webui.training.steps import Length, training_length

GIB: Final = 2**30
FULL_PARAMETERS: Final = {"sd1": 859.5e6, "sd2": 865.9e6, "sdxl": 2567.5e6}
"""U-Nets whose kept values were counted."""
KEPT: Final = {"sd1": (112_000, 164), "sd2": (112_000, 164), "sdxl": (205_000, 199)}
KEPT_WHEN_RECOMPUTED: Final = {"sd1": (18_600, 25), "sd2": (18_600, 25), "sdxl": (17_500, 6)}
"""Numbers that autograd keeps for each pixel of the latents of each picture: so many, and so many
for each rank.

Source: ``tools/training_memory.py``, which counts them on full-size U-Nets without memory.
"""
ONE_BLOCK: Final = 0.1
"""Share of all kept numbers that one block has, which are there while it is recomputed."""
WORKING_SHARE: Final = 1.25
"""What is calculated with, and gaps between, on top of what is kept."""
PROGRAM_BYTES: Final = {"cuda": 0.6 * GIB, "cpu": 0.7 * GIB}
"""The program and its libraries."""
OPTIMIZER_BYTES: Final = {"adamw8bit": 2.0, "pagedadamw8bit": 2.0, "lion": 4.0, "lion8bit": 1.0,
                          "adafactor": 0.5, "prodigy": 16.0, "sgdnesterov": 4.0}  # fmt: skip
ADAM_BYTES: Final = 8.0
"""An optimiser's own numbers for each weight that is trained."""
BACKWARD_WORK: Final = 1.15
"""The way back in ways forward: gradients of inputs, none of frozen weights, and the LoRA's."""
RECOMPUTED_WORK: Final = 1.0
OPERATIONS: Final = {"sd1": 0.23, "sd2": 0.23, "sdxl": 0.16}
"""Floating-point operations for each parameter and pixel of the latents in one pass.

Source: torch's FlopCounterMode over full-size U-Nets, pictures of 512 and 1024 pixels. Attention
makes it 0.20 at 256 pixels and 0.27 at 768.
"""
LEAST_STEP_SECONDS: Final = 0.15
"""A training step of the starter on two cores: of a network that small, the calls themselves are
most of the time."""
PAINTED_PASSES: Final = 2
"""Passes of a painted step, which is guided: with the prompt and without."""


@dataclass(frozen=True)
class ModelSize:
    """Parameters of a checkpoint's parts, and of a LoRA of rank 1 on them."""

    unet: int
    text: int
    vae: int
    lora_unet: int
    lora_text: int

    @classmethod
    def of(cls, tensors: Mapping[str, TensorInfo]) -> ModelSize:
        """Counted in a single-file checkpoint's header."""
        counts = {"unet": 0, "text": 0, "vae": 0, "lora_unet": 0, "lora_text": 0}
        for name, tensor in tensors.items():
            part = _part(name)
            if part is None:
                continue
            counts[part] += tensor.count
            if part in ("unet", "text"):
                counts[f"lora_{part}"] += _lora_of(name, tensor.shape)
        return cls(**counts)


def _part(name: str) -> str | None:
    if name.startswith(("model.diffusion_model.", "unet.")):
        return "unet"
    if name.startswith(("cond_stage_model.", "conditioner.", "text_encoder")):
        return "text"
    return "vae" if name.startswith(("first_stage_model.", "vae.")) else None


def _lora_of(name: str, shape: tuple[int, ...]) -> int:
    """Weights of a rank-1 change of a tensor; 0 for those that LoRAs leave alone."""
    is_matrix = len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1))
    if not is_matrix or not name.endswith("weight"):
        return 0
    if name.endswith("in_proj_weight"):  # three matrices in one
        return shape[0] + 3 * shape[1]
    layers = (
        ".transformer_blocks.", ".proj_in.", ".proj_out.", ".self_attn.", ".mlp.",
        ".attn.out_proj.",
    )  # fmt: skip
    return shape[0] + shape[1] if any(layer in name for layer in layers) else 0


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes on the device at the peak, by what they are for."""

    weights: int
    lora: int
    activations: int
    program: int

    @property
    def total(self) -> int:
        return self.weights + self.lora + self.activations + self.program


def memory_need(
    options: TrainingOptions, model: ModelSize, plan: PicturePlan, family: str, device: str
) -> MemoryNeed:
    """Memory at the peak of training.

    Args:
        family: ``sd1``, ``sd2`` or ``sdxl``. device: ``cuda``, else as the CPU.
    """
    width = 2 if options.mixed_precision != "no" else 4
    weights = model.unet * width
    weights += model.text * width * _keeps_text(options, plan)
    weights += model.vae * (4 if options.no_half_vae else width) * _keeps_vae(options)
    trained = _trained_values(options, model)
    own = OPTIMIZER_BYTES.get(_optimizer(options), ADAM_BYTES)
    lora = trained * (4 + 4 + own)
    activations = largest_batch(plan) * kept_values(options, model, family) * width
    program = PROGRAM_BYTES["cuda" if device == "cuda" else "cpu"]
    return MemoryNeed(weights, round(lora), round(activations * WORKING_SHARE), round(program))


def _keeps_vae(options: TrainingOptions) -> bool:
    """Whether the VAE stays when its latents are kept: sample pictures need it."""
    caches = options.cache_latents or options.cache_latents_to_disk
    return bool(options.sample_prompts) or not caches


def _keeps_text(options: TrainingOptions, plan: PicturePlan) -> bool:
    """Whether the text encoders stay: words that never change are encoded once."""
    changes = any(varies(entry.subset) for entry in plan.entries())
    return bool(options.sample_prompts) or changes or not options.network_train_unet_only


def _trained(options: TrainingOptions) -> tuple[bool, bool]:
    has_unet = not options.network_train_text_encoder_only and options.unet_lr != 0
    rates = options.text_encoder_lr
    has_text = not options.network_train_unet_only and (not rates or any(rates))
    return has_unet, has_text


def _trained_values(options: TrainingOptions, model: ModelSize) -> int:
    has_unet, has_text = _trained(options)
    rank = options.network_dim or 4
    return rank * (model.lora_unet * has_unet + model.lora_text * has_text)


def lora_bytes(options: TrainingOptions, model: ModelSize) -> int:
    """Size of one file of a training."""
    width = 2 if options.save_precision in ("fp16", "bf16") else 4
    return width * _trained_values(options, model)


def _optimizer(options: TrainingOptions) -> str:
    if options.use_8bit_adam:
        return "adamw8bit"
    return "lion" if options.use_lion_optimizer else options.optimizer_type.lower()


def kept_values(options: TrainingOptions, model: ModelSize, family: str) -> float:
    """Numbers kept for each pixel of the latents; narrower networks keep fewer."""
    rank = options.network_dim or 4
    narrow = math.sqrt(model.unet / FULL_PARAMETERS[family]) if model.unet else 1.0
    base, each = KEPT[family]
    kept = base + rank * each
    if options.gradient_checkpointing:
        base, each = KEPT_WHEN_RECOMPUTED[family]
        kept = base + rank * each + ONE_BLOCK * kept
    return narrow * kept


def largest_batch(plan: PicturePlan) -> int:
    """Pixels of the latents of the largest batch."""
    sizes = [
        min(count, dataset.options.batch_size) * (width // 8) * (height // 8)
        for dataset in plan.datasets
        for (width, height), count in dataset.samples().items()
    ]
    return max(sizes, default=0)


# Work and time


@dataclass(frozen=True)
class PastWork:
    """Something this machine has done: how much, and how long it took.

    Attributes:
        work: Parameter-pixel passes, see ``work_of_training``.
    """

    work: float
    seconds: float
    is_training: bool


@dataclass(frozen=True)
class TimeGuess:
    """Seconds, and how certain.

    Attributes:
        source: ``trainings``, ``pictures``, ``device``, or ``""`` when nothing is known yet.
        low, high: Between these it will most likely be.
    """

    seconds: float
    low: float
    high: float
    source: str


def work_of_training(
    options: TrainingOptions, model_parameters: float, plan: PicturePlan, steps: int
) -> float:
    """How much so many steps are to calculate: parameters × latent pixels × passes."""
    passes = 1 + BACKWARD_WORK + (RECOMPUTED_WORK if options.gradient_checkpointing else 0)
    return (
        mean_batch(plan) * steps * options.gradient_accumulation_steps * passes * (model_parameters)
    )


def work_of_painting(model_parameters: float, width: int, height: int, steps: int) -> float:
    """How much one guided picture was to calculate."""
    return model_parameters * (width // 8) * (height // 8) * steps * PAINTED_PASSES


def mean_batch(plan: PicturePlan) -> float:
    """Pixels of the latents of a batch, on average."""
    pixels = sum(
        count * (width // 8) * (height // 8)
        for dataset in plan.datasets
        for (width, height), count in dataset.samples().items()
    )
    return pixels / max(1, plan.batches_per_epoch)


def guess_time(
    work: float, past: Iterable[PastWork], rough_rate: float = 0.0, least: float = 0.0
) -> TimeGuess:
    """Seconds for so much work, from what was done; trainings tell more than pictures.

    Args:
        rough_rate: Seconds for one of work where nothing was done yet; 0 = not known.
        least: Seconds that it takes at least, however fast the device is; for the rough guess.
    """
    known = [one for one in past if one.work > 0 and one.seconds > 0]
    trainings = [one for one in known if one.is_training]
    used = trainings or known
    if not used:
        seconds = max(work * rough_rate, least) if rough_rate else 0.0
        return TimeGuess(seconds, seconds / 2, seconds * 3, "device" if seconds else "")
    rates = sorted(one.seconds / one.work for one in used)
    middle = rates[len(rates) // 2]
    spread = 1.3 if trainings else 2.0
    low, high = min(middle / spread, rates[0]), max(middle * spread, rates[-1])
    source = "trainings" if trainings else "pictures"
    return TimeGuess(work * middle, work * low, work * high, source)


@dataclass(frozen=True)
class Estimate:
    """What a training will come to."""

    length: Length
    pictures: int
    reg_pictures: int
    memory: MemoryNeed
    time: TimeGuess
    file_bytes: int


def estimate(
    options: TrainingOptions,
    plan: PicturePlan,
    model: ModelSize,
    family: str,
    device: str,
    past: Iterable[PastWork],
    speed: float = 0.0,
) -> Estimate:
    """Everything that can be said before the first step.

    Args:
        speed: Floating-point operations a second of the device; 0 = not known.
    """
    length = training_length(options, plan.batches_per_epoch)
    work = work_of_training(options, model.unet, plan, length.steps)
    rough_rate = OPERATIONS[family] / speed if speed else 0.0
    return Estimate(
        length=length,
        pictures=plan.count(is_reg=False),
        reg_pictures=plan.count(is_reg=True),
        memory=memory_need(options, model, plan, family, device),
        time=guess_time(work, past, rough_rate, length.steps * LEAST_STEP_SECONDS),
        file_bytes=lora_bytes(options, model),
    )
