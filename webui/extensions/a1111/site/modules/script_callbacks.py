"""Functions that want to be called at moments of the program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from webui.extensions.a1111.host import current
from webui.extensions.a1111.importing import guard

Deed = Callable[..., Any]


@dataclass
class ImageSaveParams:
    """A picture that is saved: PIL, its job, the file and what is written into it."""

    image: Any
    p: Any
    filename: str
    pnginfo: dict[str, Any]


@dataclass
class ExtraNoiseParams:
    """More noise than the usual: unit noise, a picture's latents, and these with the usual noise on
    them, to which a share of ``noise`` will be added."""

    noise: Any
    x: Any
    xi: Any


@dataclass
class CFGDenoiserParams:
    """A network call that is about to be made."""

    x: Any
    image_cond: Any
    sigma: Any
    sampling_step: int
    total_sampling_steps: int
    text_cond: Any
    text_uncond: Any
    denoiser: Any = None


@dataclass
class CFGDenoisedParams:
    """What the network said, before guidance."""

    x: Any
    sampling_step: int
    total_sampling_steps: int
    inner_model: Any = None


@dataclass
class AfterCFGCallbackParams:
    """The guided estimate."""

    x: Any
    sampling_step: int
    total_sampling_steps: int


@dataclass
class UiTrainTabParams:
    """Values of the txt2img tab."""

    txt2img_preview_params: Any


@dataclass
class ImageGridLoopParams:
    """Pictures that are laid out on a sheet."""

    imgs: Any
    cols: int
    rows: int


@dataclass
class BeforeTokenCounterParams:
    """A prompt whose tokens are counted."""

    prompt: str
    steps: int
    styles: Any
    is_positive: bool = True


def on_app_started(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("app_started", callback, name)


def on_before_reload(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("before_reload", callback, name)


def on_model_loaded(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("model_loaded", callback, name)


def on_ui_tabs(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("ui_tabs", callback, name)


def on_ui_train_tabs(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("ui_train_tabs", callback, name)


def on_ui_settings(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("ui_settings", callback, name)


def on_before_image_saved(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("before_image_saved", callback, name)


def on_image_saved(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("image_saved", callback, name)


def on_extra_noise(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("extra_noise", callback, name)


def on_cfg_denoiser(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("cfg_denoiser", callback, name)


def on_cfg_denoised(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("cfg_denoised", callback, name)


def on_cfg_after_cfg(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("cfg_after_cfg", callback, name)


def on_before_component(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("before_component", callback, name)


def on_after_component(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("after_component", callback, name)


def on_image_grid(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("image_grid", callback, name)


def on_infotext_pasted(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("infotext_pasted", callback, name)


def on_script_unloaded(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("script_unloaded", callback, name)


def on_before_ui(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("before_ui", callback, name)


def on_list_optimizers(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("list_optimizers", callback, name)


def on_list_unets(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("list_unets", callback, name)


def on_before_token_counter(callback: Deed, *, name: str | None = None) -> None:
    current().add_callback("before_token_counter", callback, name)


def remove_current_script_callbacks() -> None:
    """Take out what the script that asks has registered."""
    current().callbacks.remove_of_file(*current().caller())


def remove_callbacks_for_function(callback_func: Deed) -> None:
    """Take a function out everywhere."""
    current().callbacks.remove(callback_func)


def clear_callbacks() -> None:
    """Take out everything that the extension that asks has registered."""
    current().callbacks.remove_of(current().caller()[0])


def image_grid_callback(params: ImageGridLoopParams) -> None:
    """A sheet is about to be laid out."""
    current().callbacks.call("image_grid", params)


def before_image_saved_callback(params: ImageSaveParams) -> None:
    """A picture is about to be saved."""
    current().callbacks.call("before_image_saved", params)


def image_saved_callback(params: ImageSaveParams) -> None:
    """A picture was saved."""
    current().callbacks.call("image_saved", params)


def infotext_pasted_callback(infotext: str, params: dict[str, Any]) -> None:
    """A recipe was read."""
    current().callbacks.call("infotext_pasted", infotext, params)


guard(__name__)
