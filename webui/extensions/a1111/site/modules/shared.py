"""What everybody asks for: settings, flags, progress, lists."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

from webui.extensions.a1111.host import current
from webui.extensions.a1111.options import OptionHTML, OptionInfo, options_section

__all__ = [
    "OptionHTML",
    "OptionInfo",
    "cmd_opts",
    "hide_dirs",
    "options_section",
    "opts",
    "state",
]  # fmt: skip

_host = current()
opts = _host.options
state = _host.state
cmd_opts = _host.flags
demo: Any = None
hide_dirs: dict[str, Any] = {"visible": True}
restricted_opts: set[str] = set()
options_templates = opts.data_labels
settings_components: dict[str, Any] = {}
tab_names: list[str] = []
interrogator: Any = None
face_restorers: list[Any] = [
    SimpleNamespace(name=lambda name=name: name) for name in _host.names.face_restorers()
]
latent_upscale_default_mode = "Latent"
latent_upscale_modes: dict[str, dict[str, Any]] = {
    "Latent": {"mode": "bilinear", "antialias": False},
    "Latent (antialiased)": {"mode": "bilinear", "antialias": True},
    "Latent (bicubic)": {"mode": "bicubic", "antialias": False},
    "Latent (bicubic antialiased)": {"mode": "bicubic", "antialias": True},
    "Latent (nearest)": {"mode": "nearest", "antialias": False},
    "Latent (nearest-exact)": {"mode": "nearest-exact", "antialias": False},
}
hypernetworks: dict[str, str] = {}
loaded_hypernetworks: list[Any] = []
gradio_theme: Any = None
total_tqdm: Any = SimpleNamespace(
    reset=lambda: None, update=lambda: None, updateTotal=lambda new_total: None,
    clear=lambda: None,
)  # fmt: skip
mem_mon: Any = SimpleNamespace(monitor=lambda: None, stop=lambda: {}, read=lambda: {})
progress_print_out = sys.stdout
clip_model: Any = None
batch_cond_uncond = True
parallel_processing_allowed = True
styles_filename: list[str] = []
config_filename = str(_host.places.data / "config.json")
gfpgan_models_filename: Any = None


class Upscaled:
    """An upscaler of the program, as scripts call it."""

    def __init__(self, name: str) -> None:
        self.name = self.data_path = name
        self.scale = 4
        self.scaler = self
        self.model: Any = None
        self.local_data_path = name

    def upscale(self, img: Any, scale: float, selected_model: Any = None) -> Any:
        """A picture (PIL) as many times as large."""
        width, height = int(img.width * scale) // 8 * 8, int(img.height * scale) // 8 * 8
        return current().upscale(img, self.name, width, height)


class StyleList:
    """The styles, as ``shared.prompt_styles``."""

    @property
    def styles(self) -> dict[str, Any]:
        found = current().names.styles().items()
        return {
            name: SimpleNamespace(name=name, prompt=prompt, negative_prompt=negative, path=None)
            for name, (prompt, negative) in found
        }

    no_style = SimpleNamespace(name="None", prompt="", negative_prompt="", path=None)

    def get_style_prompts(self, styles: list[str]) -> list[str]:
        return [self.styles.get(name, self.no_style).prompt for name in styles]

    def get_negative_style_prompts(self, styles: list[str]) -> list[str]:
        return [self.styles.get(name, self.no_style).negative_prompt for name in styles]

    def apply_styles_to_prompt(self, prompt: str, styles: list[str]) -> str:
        return _styled(prompt, self.get_style_prompts(styles))

    def apply_negative_styles_to_prompt(self, prompt: str, styles: list[str]) -> str:
        return _styled(prompt, self.get_negative_style_prompts(styles))

    def reload(self) -> None:
        """The program looks by itself."""


def _styled(prompt: str, texts: list[str]) -> str:
    for text in filter(None, texts):
        parts = (prompt, text)
        prompt = (
            text.replace("{prompt}", prompt)
            if "{prompt}" in text
            else ", ".join(part for part in parts if part)
        )
    return prompt


prompt_styles = StyleList()


def list_checkpoint_tiles(use_short: bool = False) -> list[str]:
    """Titles of the checkpoints."""
    return [str(one["title"]) for one in current().names.checkpoints()]


def refresh_checkpoints() -> None:
    """The program looks by itself."""


def list_samplers() -> list[Any]:
    from . import sd_samplers

    return sd_samplers.all_samplers


def reload_hypernetworks() -> None:
    """The program looks by itself."""


def natural_sort_key(s: str, regex: Any = None) -> list[Any]:
    """Numbers in a text count as numbers."""
    import re

    return [int(part) if part.isdigit() else part.lower() for part in re.split(r"(\d+)", s)]


def listfiles(dirname: str) -> list[str]:
    """Files of a folder, by name."""
    from . import util

    return util.listfiles(dirname)


def html(filename: str) -> str:
    """A piece of the page; none of A1111's are here."""
    return ""


def walk_files(path: str, allowed_extensions: Any = None) -> Any:
    """Every file below a folder."""
    from . import util

    return util.walk_files(path, allowed_extensions)


class _Shared(ModuleType):
    """Answers what is not known before somebody asks."""

    @property
    def sd_model(self) -> Any:
        from . import sd_models

        return sd_models.model_data.get_sd_model()

    @property
    def device(self) -> Any:
        from . import devices

        return devices.device

    @property
    def sd_upscalers(self) -> list[Any]:
        return list(map(Upscaled, current().names.upscalers()))

    @property
    def weight_load_location(self) -> str:
        return "cpu"


sys.modules[__name__].__class__ = _Shared
