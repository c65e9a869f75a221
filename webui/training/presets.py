"""Options for people who do not want to choose any: by what is learnt and by memory; no torch.

Source: lora-training.md, section 5.2; repeats are chosen so that a training has about
``AIM_STEPS`` steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

CHARACTER, STYLE, OBJECT = "character", "style", "object"
SUBJECTS: Final = (CHARACTER, STYLE, OBJECT)
MEMORIES: Final = ("cpu", "6", "8", "12", "24")
"""Gigabytes of the graphics card; ``cpu`` = without one."""
EPOCHS: Final = 10
AIM_STEPS: Final = {"cpu": 400}
USUAL_STEPS: Final = 1500
MOST_REPEATS: Final = 100
FEW_PICTURES: Final = 15


@dataclass(frozen=True)
class Wish:
    """What a person says on the simple page.

    Attributes:
        word: What calls the LoRA up in a prompt. pictures: How many there are.
        family: Of the checkpoint. native_side: Size in pixels its pictures were trained at.
    """

    word: str
    subject: str = CHARACTER
    memory: str = "8"
    family: str = "sd1"
    pictures: int = 0
    native_side: int = 512


def preset(wish: Wish) -> dict[str, Any]:
    """Options under their names for a wish; what is not named keeps its default."""
    values = {**_ALWAYS, **_SUBJECTS[wish.subject], **_memory(wish)}
    if wish.family == "sdxl":
        values |= _SDXL
        values["network_train_unet_only"] = True
        values.pop("text_encoder_lr", None)
    elif wish.subject == CHARACTER and 0 < wish.pictures < FEW_PICTURES:
        values["text_encoder_lr"] = 5e-5
    if values.get("network_train_unet_only"):
        values.pop("text_encoder_lr", None)
    values |= _sizes(wish, values["resolution"])
    values["repeats"] = repeats_for(wish, values["train_batch_size"])
    if wish.word and wish.subject != STYLE:
        values["trigger_words"] = wish.word
    values["sample_prompts"] = sample_lines(wish, values["resolution"])
    return values


_ALWAYS: Final[dict[str, Any]] = {
    "caption_extension": ".txt", "enable_bucket": True, "shuffle_caption": True, "keep_tokens": 1,
    "cache_latents": True, "network_module": "networks.lora", "max_train_epochs": EPOCHS,
    "optimizer_type": "AdamW", "lr_scheduler": "cosine_with_restarts", "unet_lr": 1e-4,
    "max_token_length": 225, "save_precision": "fp16", "save_every_n_epochs": 1,
    "sample_every_n_epochs": 1, "sample_sampler": "euler_a", "seed": 1337, "skip_broken": True,
    "reg_caption_dropout_rate": 0.3,
}  # fmt: skip
_SUBJECTS: Final[dict[str, dict[str, Any]]] = {
    CHARACTER: {"network_dim": 32, "network_alpha": 16.0, "text_encoder_lr": 1e-5},
    STYLE: {
        "network_dim": 32, "network_alpha": 16.0, "text_encoder_lr": 5e-6, "min_snr_gamma": 5.0,
        "caption_dropout_rate": 0.05, "keep_tokens": 0,
    },
    OBJECT: {
        "network_dim": 16, "network_alpha": 8.0, "text_encoder_lr": 1e-5, "flip_aug": True,
    },
}  # fmt: skip
_SDXL: Final[dict[str, Any]] = {
    "min_snr_gamma": 5.0, "noise_offset": 0.0357, "bucket_reso_steps": 64,
    "cache_text_encoder_outputs": False, "no_half_vae": True, "save_every_n_epochs": 2,
    "sample_every_n_epochs": 2,
}  # fmt: skip
_SMALL_CARD: Final[dict[str, Any]] = {
    "train_batch_size": 1, "gradient_checkpointing": True, "mixed_precision": "fp16",
}  # fmt: skip


def _memory(wish: Wish) -> dict[str, Any]:
    """What fits; see the table by card in the source."""
    is_large = wish.family == "sdxl"
    side = 1024 if is_large else 512
    usual: dict[str, Any] = {"resolution": side, "train_batch_size": 1}
    if wish.memory == "cpu":
        return {**usual, "mixed_precision": "no", "network_dim": 16, "network_alpha": 8.0}
    usual["sample_weights"] = (1.0, 0.6)
    if wish.memory == "6":
        own = {"optimizer_type": "AdamW8bit", "network_train_unet_only": True}
        return {**usual, **_SMALL_CARD, **own, "network_dim": 16, "network_alpha": 8.0}
    if wish.memory == "8":
        own = {"optimizer_type": "AdamW8bit"}
        if is_large:
            own |= {"cache_latents_to_disk": True, "network_dim": 8, "network_alpha": 4.0}
        return {**usual, **_SMALL_CARD, **own}
    if wish.memory == "12":
        own = {"network_dim": 16, "network_alpha": 8.0} if is_large else {"train_batch_size": 4}
        return {**usual, **_SMALL_CARD, "gradient_checkpointing": is_large, **own}
    more = {"resolution": side if is_large else 768, "train_batch_size": 4}
    return {**usual, **more, "mixed_precision": "fp16", "gradient_checkpointing": is_large}


def _sizes(wish: Wish, side: int) -> dict[str, Any]:
    """No size above what the checkpoint was trained at (much memory: by half), limits around it."""
    most = wish.native_side * 3 // 2 if wish.memory == "24" else wish.native_side
    side = min(side, max(64, most // 64 * 64))
    return {
        "resolution": side,
        "min_bucket_reso": max(64, side // 2 // 64 * 64),
        "max_bucket_reso": 2 * side,
    }


def repeats_for(wish: Wish, batch_size: int) -> int:
    """Repeats with which so many pictures make about as many steps as a LoRA needs."""
    wanted = AIM_STEPS.get(wish.memory, USUAL_STEPS)
    if not wish.pictures:
        return 1
    return min(MOST_REPEATS, max(1, round(wanted * batch_size / (EPOCHS * wish.pictures))))


def sample_lines(wish: Wish, side: int) -> str:
    """Prompts of the pictures that are painted between epochs, one a line."""
    word = wish.word or "a picture"
    places = {
        CHARACTER: (word, f"{word}, in a forest"), STYLE: (f"a house, {word}", f"a cat, {word}"),
        OBJECT: (word, f"{word} on a table"),
    }  # fmt: skip
    size = f"--w {side} --h {side} --d 1 --s 16"
    return "\n".join(f"{prompt} {size}" for prompt in places[wish.subject])
