"""The checkpoints, and an honest little about the one in use."""

from __future__ import annotations

import os
from typing import Any

from webui.extensions.a1111.host import current
from webui.extensions.a1111.importing import guard

model_dir = "Stable-diffusion"
model_path = str(current().places.models / model_dir)


class CheckpointInfo:
    """A checkpoint's names."""

    def __init__(self, facts: Any) -> None:
        self.filename = str(facts.get("filename", ""))
        self.name = str(facts.get("name", ""))
        self.name_for_extra = os.path.splitext(os.path.basename(self.name))[0]
        self.model_name = self.name_for_extra
        self.title = str(facts.get("title", self.name))
        self.short_title = self.title
        self.sha256 = facts.get("sha256")
        self.shorthash = self.sha256[:10] if self.sha256 else None
        self.hash = facts.get("hash") or self.shorthash
        self.is_safetensors = self.filename.endswith(".safetensors")
        self.metadata: dict[str, Any] = {}
        self.family = str(facts.get("family", ""))
        self.ids = [self.title, self.name, self.name_for_extra, self.shorthash or self.title]

    def __str__(self) -> str:
        return self.title


class Model:
    """What ``shared.sd_model`` can honestly say: names of the checkpoint in use.

    The networks themselves are other classes than A1111's; who asks for them is told so.
    """

    def __init__(self, info: CheckpointInfo) -> None:
        self.sd_checkpoint_info = info
        self.sd_model_checkpoint = info.filename
        self.sd_model_hash = info.shorthash
        look = current().facts.get("family_of")
        family = info.family or (look(info.filename) if look else "")
        self.is_sdxl = family.startswith("sdxl")
        self.is_sd2 = family.startswith("sd2")
        self.is_sd1 = not (self.is_sdxl or self.is_sd2)
        self.is_ssd = self.is_sd3 = False
        self.latent_channels = 4
        self.parameterization = "eps"

    @property
    def device(self) -> Any:
        from . import devices

        return devices.device

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"module 'modules.shared': sd_model has no {name!r} here; models are other classes"
        )


class _ModelData:
    """As ``sd_models.model_data``."""

    def get_sd_model(self) -> Any:
        """The checkpoint in use; None while none is known."""
        host = current()
        chosen = host.facts.get("checkpoint") or host.options.data.get("sd_model_checkpoint")
        info = get_closet_checkpoint_match(chosen) if chosen else None
        listed = host.names.checkpoints()
        info = info or (CheckpointInfo(listed[0]) if listed else None)
        return None if info is None else Model(info)

    sd_model = property(get_sd_model)


model_data = _ModelData()


def _by_title() -> dict[str, CheckpointInfo]:
    infos = map(CheckpointInfo, current().names.checkpoints())
    return {info.title: info for info in infos}


def checkpoint_tiles(use_short: bool = False) -> list[str]:
    return list(_by_title())


def get_closet_checkpoint_match(search_string: str | None) -> CheckpointInfo | None:
    """The checkpoint of a title, name or hash; A1111's own spelling of the function."""
    if not search_string:
        return None
    infos = list(_by_title().values())
    for info in infos:
        if search_string in info.ids or search_string == info.filename:
            return info
    found = [info for info in infos if search_string.lower() in info.title.lower()]
    return min(found, key=lambda info: len(info.title), default=None)


get_closest_checkpoint_match = get_closet_checkpoint_match


def select_checkpoint() -> CheckpointInfo | None:
    """The one in use."""
    model = model_data.get_sd_model()
    return None if model is None else model.sd_checkpoint_info


def list_models() -> None:
    """The program looks by itself."""


def load_model(checkpoint_info: Any = None, already_loaded_state_dict: Any = None) -> Any:
    """Have the rest of the job painted with a checkpoint; it is loaded when it first paints."""
    return reload_model_weights(info=checkpoint_info)


def reload_model_weights(
    sd_model: Any = None, info: Any = None, forced_reload: bool = False
) -> Any:
    """As ``load_model``; without ``info``, the one that a script put into ``shared.opts``."""
    host = current()
    chosen = host.options.changed_in_job.get("sd_model_checkpoint")
    wanted = getattr(info, "title", info) or chosen
    present = select_checkpoint()
    if wanted and (present is None or wanted not in (present.title, present.name)):
        host.switch_checkpoint(str(wanted))
    return model_data.get_sd_model()


def unload_model_weights(sd_model: Any = None, info: Any = None) -> Any:
    """Memory is looked after by the program."""
    return sd_model


def __getattr__(name: str) -> Any:
    if name == "checkpoints_list":
        return _by_title()
    if name in ("checkpoint_aliases", "checkpoint_alisases"):
        return {word: info for info in _by_title().values() for word in info.ids}
    raise AttributeError(f"module 'modules.sd_models' has no attribute {name!r}")


guard(__name__)
