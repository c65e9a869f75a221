"""Join the parts of a model that were read one by one, and see that they fit; no torch."""

from __future__ import annotations

from typing import Final

from webui.checkpoints.families.model import DiffusionModel, Frame
from webui.checkpoints.specs import (
    NUMBER_CHANNELS,
    ArchSpec,
    SpecError,
    TextSpec,
    UNetSpec,
    VaeSpec,
)

PURPOSES: Final = {4: "paint", 9: "inpaint", 8: "edit"}
"""By input channels of the U-Net: latents; + mask and masked picture; + picture to edit."""


def joined(
    family: DiffusionModel,
    layout: str,
    prediction_type: str,
    unet: UNetSpec,
    vae: VaeSpec | None,
    texts: list[TextSpec],
    *,
    dtype: str,
    zero_terminal_snr: bool,
) -> ArchSpec:
    """Join the parts of a model.

    Raises:
        SpecError: The parts do not fit each other.
    """
    if unet.in_channels not in PURPOSES:
        raise SpecError(f"its U-Net takes {unet.in_channels} channels instead of 4, 8 or 9")
    purpose = PURPOSES[unet.in_channels]
    if purpose != "paint" and prediction_type == "ask":  # nobody trained such ones for v
        prediction_type = "epsilon"
    if not _divides(unet):
        raise SpecError(f"its widths {unet.channels} do not divide by its heads and groups")
    if len(texts) == len(family.texts):
        _check_texts(family, unet, texts)
    return ArchSpec(
        family=family.name,
        purpose=purpose,
        layout=layout,
        prediction_type=prediction_type,
        unet=unet,
        vae=vae,
        texts=tuple(texts) if len(texts) == len(family.texts) else (),
        dtype=dtype,
        zero_terminal_snr=zero_terminal_snr,
    )


def _divides(unet: UNetSpec) -> bool:
    pairs = zip(unet.channels, unet.heads_by_level, strict=True)
    return all(
        min(width, heads, unet.groups) > 0 and not width % heads and not width % unet.groups
        for width, heads in pairs
    )


def _check_texts(family: DiffusionModel, unet: UNetSpec, texts: list[TextSpec]) -> None:
    width = sum(text.width for text in texts)
    if width != unet.context_dim:
        what = "text encoder is" if len(texts) == 1 else "text encoders together are"
        raise SpecError(f"its {what} {width} wide and its U-Net listens to {unet.context_dim}")
    numbers = NUMBER_CHANNELS * len(family.numbers(Frame(8, 8)))
    vector = numbers and numbers + sum(text.projection for text in texts)
    if vector != unet.vector_dim:
        raise SpecError(
            f"its text encoder and sizes make a vector of {vector} and its U-Net takes "
            f"{unet.vector_dim}"
        )
