"""A sentence for a picture, by BLIP in a folder of transformers.

Source: Li et al. 2022, "BLIP", arXiv 2201.12086; size, mean and deviation of the picture are the
folder's own (CLIP's where it tells none).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from tokenizers import Tokenizer, decoders, models
from torch import Tensor

from webui.checkpoints.describers import CONFIG, WEIGHTS
from webui.checkpoints.weights import open_weights
from webui.errors import CheckpointError

MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
DEVIATION: Final = (0.26862954, 0.26130258, 0.27577711)
MOST_TOKENS: Final = 40
BEAMS: Final = 3
_SPECIAL: Final = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]"]


class Blip:
    """BLIP, read into memory; ``model`` is the network.

    Args:
        folder: Holds ``config.json``, weights, and ``tokenizer.json`` or ``vocab.txt``.
    Raises:
        CheckpointError: A file is missing or damaged.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._folder, self._device = folder, device
        try:
            self._words = _tokenizer(folder)
            self.model: Any = _network(folder).to(device)
            self._mean, self._deviation = _scale(folder)
        except CheckpointError:
            raise
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as err:
            raise CheckpointError(
                f"The captioner {folder.name} cannot be read: {' '.join(str(err).split())[:300]}",
                "Get all files of the folder again.",
                path=str(folder),
            ) from err
        self._side = int(self.model.config.vision_config.image_size)

    def describe(self, image: Image.Image, _threshold: float, _characters: float) -> str:
        """What is seen, as a sentence in English without its full stop.

        Args:
            image: RGB or RGBA; transparent parts count as white.
        """
        with torch.inference_mode():
            tokens = self.model.generate(
                pixel_values=self._pixels(image), max_new_tokens=MOST_TOKENS, num_beams=BEAMS,
                do_sample=False,
            )  # fmt: skip
        return " ".join(self._words.decode(tokens[0].tolist(), skip_special_tokens=True).split())

    def _pixels(self, image: Image.Image) -> Tensor:
        """(1, 3, H, W), as the network was trained on them."""
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        ground.alpha_composite(image)
        small = ground.convert("RGB").resize((self._side, self._side), Image.Resampling.BICUBIC)
        values = torch.from_numpy(np.asarray(small, np.float32) / 255)  # (H, W, 3)
        values = (values - torch.tensor(self._mean)) / torch.tensor(self._deviation)
        return values.permute(2, 0, 1)[None].to(self._device)


def _network(folder: Path) -> Any:
    from transformers import BlipConfig, BlipForConditionalGeneration

    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{WEIGHTS[0]} is not there")
    config = BlipConfig.from_dict(_json(folder / CONFIG))
    with open_weights(path) as weights:
        tensors = {name: weights.read(name).float() for name in weights.header.tensors}
    network = BlipForConditionalGeneration(config)
    missing, _ = network.load_state_dict(tensors, strict=False)
    network.tie_weights()
    tied = network.all_tied_weights_keys
    if lacking := [name for name in missing if name not in tied]:
        raise KeyError(f"{len(lacking)} tensors are missing, such as {lacking[0]}")
    return network.eval().requires_grad_(False)


def _tokenizer(folder: Path) -> Tokenizer:
    if (folder / "tokenizer.json").is_file():
        return Tokenizer.from_str((folder / "tokenizer.json").read_text("utf-8"))
    words = (folder / "vocab.txt").read_text("utf-8").splitlines()
    made = Tokenizer(models.WordPiece({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    made.decoder = decoders.WordPiece()
    made.add_special_tokens(_SPECIAL)
    return made


def _scale(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    path = folder / "preprocessor_config.json"
    facts = _json(path) if path.is_file() else {}
    mean, deviation = facts.get("image_mean", MEAN), facts.get("image_std", DEVIATION)
    return tuple(map(float, mean)), tuple(map(float, deviation))


def _json(path: Path) -> dict[str, Any]:
    facts = json.loads(path.read_text("utf-8-sig"))
    if not isinstance(facts, dict):
        raise ValueError(f"{path.name} is no JSON object")
    return facts
