"""The three networks of the starter in SD 1.x structure, from nothing or from a checkpoint file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

from webui.checkpoints.load import load_checkpoint
from webui.checkpoints.specs import default_groups

VOCABULARY: Final = 49408
START, END = 49406, 49407
LATENT_SCALE: Final = 0.18215
"""SD 1.x: latents are multiplied by this."""


@dataclass(frozen=True)
class Profile:
    """Sizes of the three networks.

    Attributes:
        size: Pictures of training, in pixels, square.
        vae, unet: Channels of the four levels, from the outside inwards.
        vae_blocks, unet_blocks: Residual blocks of a level.
        text_width, text_layers: Of the CLIP text encoder; heads are 64 wide.
    """

    size: int
    vae: tuple[int, int, int, int]
    vae_blocks: int
    unet: tuple[int, int, int, int]
    unet_blocks: int
    text_width: int
    text_layers: int


PROFILES: Final = {
    "cpu": Profile(128, (32, 32, 64, 128), 1, (64, 128, 160, 64), 1, 128, 4),
    "gpu": Profile(256, (64, 64, 128, 256), 2, (96, 192, 256, 128), 1, 192, 6),
    "tiny": Profile(128, (16, 16, 16, 16), 1, (32, 32, 32, 32), 1, 64, 2),
}
"""``cpu`` made the shipped file; ``gpu`` (256×256, U-Net under 40 MB in fp16) was never run;
``tiny`` is for tests."""


def build_vae(profile: Profile) -> AutoencoderKL:
    """An untrained autoencoder."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=profile.vae,
        layers_per_block=profile.vae_blocks,
        norm_num_groups=default_groups(profile.vae[0]),
        sample_size=profile.size,
        scaling_factor=LATENT_SCALE,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )


def build_unet(profile: Profile) -> UNet2DConditionModel:
    """An untrained U-Net; diffusers' ``attention_head_dim`` means the number of heads here."""
    return UNet2DConditionModel(
        sample_size=profile.size // 8,
        in_channels=4,
        out_channels=4,
        block_out_channels=profile.unet,
        layers_per_block=profile.unet_blocks,
        cross_attention_dim=profile.text_width,
        attention_head_dim=8,
        norm_num_groups=default_groups(profile.unet[0]),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    )


def build_text(profile: Profile, rows: int = VOCABULARY) -> CLIPTextModel:
    """An untrained text encoder with so many rows in its token table."""
    config = CLIPTextConfig(
        vocab_size=rows,
        hidden_size=profile.text_width,
        intermediate_size=4 * profile.text_width,
        num_hidden_layers=profile.text_layers,
        num_attention_heads=profile.text_width // 64,
        max_position_embeddings=77,
        hidden_act="quick_gelu",
        projection_dim=profile.text_width,
        bos_token_id=min(START, rows - 2),
        eos_token_id=min(END, rows - 1),
        pad_token_id=min(END, rows - 1),
    )
    return CLIPTextModel(config)


class Rows:
    """The rows of the token table that training knows; every other word shares the last row.

    Attributes:
        known: CLIP token numbers in ascending order; row i of the small table is ``known[i]``.
    """

    def __init__(self, known: list[int]) -> None:
        self.known = sorted({*known, START, END})
        self._row = torch.full((VOCABULARY,), len(self.known))
        self._row[torch.tensor(self.known)] = torch.arange(len(self.known))

    def __len__(self) -> int:
        return len(self.known) + 1

    def of(self, tokens: Tensor) -> Tensor:
        """CLIP token numbers → rows of the small table, same shape."""
        return self._row.to(tokens.device)[tokens]

    def whole(self, table: Tensor) -> Tensor:
        """The small table (len, width) → CLIP's (49408, width)."""
        table = table.cpu()
        whole = table[-1].repeat(VOCABULARY, 1)
        whole[torch.tensor(self.known)] = table[:-1]
        return whole


def known_rows(table: Tensor) -> list[int]:
    """Which rows of a shipped token table differ from the row that unknown words share."""
    values, counts = torch.unique(table, dim=0, return_counts=True)
    shared = values[counts.argmax()]
    return torch.nonzero((table != shared).any(1)).flatten().tolist()


class Text(nn.Module):
    """CLIP's text encoder over the known rows: token numbers in, context out."""

    def __init__(self, clip: CLIPTextModel, rows: Rows) -> None:
        super().__init__()
        self.clip = clip
        self.rows = rows

    @classmethod
    def fresh(cls, profile: Profile, known: list[int]) -> Text:
        """An untrained encoder."""
        rows = Rows(known)
        text = cls(build_text(profile, len(rows)), rows)
        table = text.clip.get_input_embeddings().weight
        with torch.no_grad():
            nn.init.normal_(table, std=0.05)
            table[-1] = 0
        return text

    @classmethod
    def of_checkpoint(cls, clip: CLIPTextModel, more: list[int]) -> Text:
        """A shipped encoder with its table cut down to the known rows and ``more`` new ones."""
        table = clip.get_input_embeddings().weight.detach()
        rows = Rows([*known_rows(table), *more])
        shared = next(i for i in range(1000, VOCABULARY) if i not in set(rows.known))
        small = nn.Embedding(len(rows), table.shape[1])
        with torch.no_grad():
            small.weight.copy_(table[[*rows.known, shared]])
        clip.set_input_embeddings(small)
        return cls(clip, rows)

    def forward(self, tokens: Tensor, clip_skip: int = 1) -> Tensor:
        """Encode.

        Args:
            tokens: (B, L) CLIP token numbers, 49406 first, filled up with 49407; L ≤ 77.
            clip_skip: 1 = last layer.
        Returns:
            (B, L, width), after the final norm.
        """
        return self.encode(self.vectors(tokens), clip_skip)

    def vectors(self, tokens: Tensor) -> Tensor:
        """Token numbers → their vectors (B, L, width), before positions are added."""
        return self.clip.get_input_embeddings()(self.rows.of(tokens))

    def encode(self, vectors: Tensor, clip_skip: int = 1) -> Tensor:
        """Encode token vectors, among them such as no token has; see ``forward``."""
        hidden = self.clip.embeddings(inputs_embeds=vectors)
        length = vectors.shape[1]
        mask = torch.full((length, length), float("-inf"), device=hidden.device)
        mask = mask.triu(1).to(hidden.dtype)[None, None]
        layers = self.clip.encoder.layers
        for layer in layers[: len(layers) - (clip_skip - 1)]:
            out = layer(hidden, mask)
            hidden = out[0] if isinstance(out, tuple) else out
        return self.clip.final_layer_norm(hidden)

    def whole_state(self) -> dict[str, Tensor]:
        """Weights with CLIP's whole token table."""
        state = dict(self.clip.state_dict())
        name = "embeddings.token_embedding.weight"
        return state | {name: self.rows.whole(state[name])}


@dataclass
class Starter:
    """The networks of one training run."""

    unet: UNet2DConditionModel
    text: Text
    vae: AutoencoderKL | None = None

    def state(self) -> dict[str, Any]:
        """What a training checkpoint holds of the networks."""
        return {
            "unet": self.unet.state_dict(),
            "text": self.text.clip.state_dict(),
            "known": self.text.rows.known,
        }


def from_checkpoint(path: Path, more_tokens: list[int] | None = None) -> Starter:
    """Read a starter checkpoint for going on with its training.

    Args:
        path: Single file in the original layout.
        more_tokens: Token numbers that get rows of their own from now on.
    """
    model = load_checkpoint(path, for_painting=False)
    text = Text.of_checkpoint(model.text_encoder, more_tokens or [])
    return Starter(model.unet, text, model.vae)


def alphas_cumprod() -> Tensor:
    """(1000,) float32: share of signal left at each timestep; scaled-linear 0.00085–0.012."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0).float()
