"""One way to open a tagger or a captioner."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from PIL import Image

from webui.checkpoints.describers import DescriberKind
from webui.describing.blip import Blip
from webui.describing.tagger import Tagger


class Describing(Protocol):
    """Says what a picture shows."""

    def describe(self, image: Image.Image, threshold: float, character_threshold: float, /) -> str:
        """Words between commas, or a sentence; '' when nothing is seen for certain."""
        ...


def open_describer(kind: DescriberKind, folder: Path, device: torch.device) -> Describing:
    """Read a tagger or a captioner.

    Raises:
        CheckpointError: A file is missing or damaged.
    """
    return Tagger(folder) if kind == "tagger" else Blip(folder, device)
