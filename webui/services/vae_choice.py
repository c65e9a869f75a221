"""Which VAE file a checkpoint is painted with; None = the one inside the checkpoint.

Rules as A1111's (formats.md, section 2): the choice, else what is noted beside the checkpoint,
else a file named after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from webui.checkpoints.catalog import Catalog, Record
from webui.errors import CheckpointNotFoundError

AUTOMATIC: Final = "Automatic"
BUILT_IN: Final = "None"


@dataclass(frozen=True)
class VaeChoice:
    """A VAE file, or None for the checkpoint's own; ``warning`` where it is not what was noted."""

    record: Record | None
    warning: str = ""


def choose_vae(
    wanted: str,
    checkpoint: Record,
    catalog: Catalog,
    *,
    usual: str = "",
    overrides_notes: bool = True,
) -> VaeChoice:
    """Decide by wish, notes and names.

    Args:
        wanted: «Automatic», «None» (or '') or the name of a file.
        checkpoint: Whose VAE is replaced; ``<stem>.json`` beside it may note a «vae».
        usual: A file that «Automatic» means for every checkpoint (``--vae-path``); '' = none.
        overrides_notes: False = a VAE that is noted or named for the checkpoint wins over
            ``wanted`` (A1111's option sd_vae_overrides_per_model_preferences).
    Raises:
        CheckpointNotFoundError: A file was wanted by name that is not there.
    """
    if wanted == AUTOMATIC and usual:
        return VaeChoice(catalog.find_vae(usual))
    noted = catalog.noted_vae(checkpoint)
    if wanted != AUTOMATIC and (overrides_notes or not _has_own(noted, checkpoint, catalog)):
        return VaeChoice(None if wanted in (BUILT_IN, "") else catalog.find_vae(wanted))
    try:
        if noted:
            return VaeChoice(None if noted == BUILT_IN else catalog.find_vae(noted))
    except CheckpointNotFoundError as err:
        named = catalog.vae_named_after(checkpoint)
        instead = named.name if named else "the checkpoint's own VAE"
        told = f"The VAE noted for {checkpoint.stem} was not used, but {instead}: {err.message}"
        return VaeChoice(named, told)
    return VaeChoice(catalog.vae_named_after(checkpoint))


def _has_own(noted: str, checkpoint: Record, catalog: Catalog) -> bool:
    return bool(noted) or catalog.vae_named_after(checkpoint) is not None
