"""What scripts derive from and are handed: the classes of A1111's ``modules.scripts``.

Source:
    Names, arguments and the order of calls: A1111 1.10's documentation for developers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar


class AlwaysVisible:
    """What ``show`` returns for a script that acts in every job; used as it is, never called."""


JOB_METHODS = (
    "setup", "before_process", "process", "before_process_batch",
    "after_extra_networks_activate", "process_batch", "process_before_every_sampling",
    "on_mask_blend", "before_hr", "post_sample", "postprocess_batch", "postprocess_batch_list",
    "postprocess_image", "postprocess_maskoverlay", "postprocess_image_after_composite",
    "postprocess",
)  # fmt: skip
"""The moments of a job in which scripts that are always visible act, in their order."""


@dataclass
class PostprocessImageArgs:
    """A finished picture (PIL) that ``postprocess_image`` may replace, and its number."""

    image: Any
    index: int = 0


@dataclass
class PostSampleArgs:
    """Clean latents (B, 4, H/8, W/8) before they are decoded."""

    samples: Any


@dataclass
class PostprocessBatchListArgs:
    """Pictures of a batch: a list of float tensors (3, H, W) in 0…1."""

    images: list[Any]


@dataclass
class PostProcessMaskOverlayArgs:
    """What is laid over a repainted picture."""

    index: int
    mask_for_overlay: Any
    overlay_image: Any


@dataclass
class MaskBlendArgs:
    """Latents where painted and kept parts meet; ``blended_latent`` may be assigned."""

    current_latent: Any
    nmask: Any
    init_latent: Any
    mask: Any
    blended_latent: Any
    denoiser: Any = None
    sigma: Any = None

    @property
    def is_final_blend(self) -> bool:
        return self.denoiser is None


@dataclass(frozen=True)
class OnComponent:
    """What ``on_after_component`` functions are handed."""

    component: Any


ComponentCallback = tuple[Callable[[OnComponent], Any], str]


class Script:
    """A script; one object of it for each painting tab.

    Attributes:
        args_from, args_to: Its share of the list of all scripts' arguments.
        usual: What stands in its fields on a fresh page.
        infotext_fields: Pairs of a component and a recipe's key (or a function of the recipe).
    """

    name: str | None = None
    section: str | None = None
    filename: str | None = None
    args_from: int | None = None
    args_to: int | None = None
    alwayson: bool = False
    is_txt2img: bool = False
    is_img2img: bool = False
    tabname: str | None = None
    group: Any = None
    create_group: bool = True
    infotext_fields: Any = None
    paste_field_names: Any = None
    api_info: Any = None
    controls: Any = None
    usual: Sequence[Any] = ()
    setup_for_ui_only: bool = False
    sorting_priority: float = 0
    on_before_component_elem_id: list[tuple[str, Callable[[OnComponent], Any]]] | None = None
    on_after_component_elem_id: list[tuple[str, Callable[[OnComponent], Any]]] | None = None
    extension: ClassVar[str] = ""

    def title(self) -> str:
        """What people see; each script has another."""
        return type(self).__name__

    def ui(self, is_img2img: bool) -> Any:
        """Draw the script's fields; returns their list, or None."""

    def show(self, is_img2img: bool) -> Any:
        """False = never, True = in the menu of scripts, ``AlwaysVisible`` = acts in every job."""
        return True

    def run(self, p: Any, *args: Any) -> Any:
        """Do a selected script's job; None = paint as usual."""

    def setup(self, p: Any, *args: Any) -> None:
        """The job has got its scripts and their arguments."""

    def before_process(self, p: Any, *args: Any) -> None:
        """The first moment of a job, before anything was looked at."""

    def process(self, p: Any, *args: Any) -> None:
        """Seeds and prompts of all pictures are known."""

    def before_process_batch(self, p: Any, *args: Any, **kwargs: Any) -> None:
        """A batch begins; ``prompts`` may be changed in place."""

    def after_extra_networks_activate(self, p: Any, *args: Any, **kwargs: Any) -> None:
        """Networks of the prompts act."""

    def process_batch(self, p: Any, *args: Any, **kwargs: Any) -> None:
        """Just before prompts are encoded."""

    def process_before_every_sampling(self, p: Any, *args: Any, **kwargs: Any) -> None:
        """Just before a walk; twice with a second pass."""

    def on_mask_blend(self, p: Any, mba: MaskBlendArgs, *args: Any) -> None:
        """Painted and kept parts were mixed."""

    def before_hr(self, p: Any, *args: Any) -> None:
        """Before the second pass."""

    def post_sample(self, p: Any, ps: PostSampleArgs, *args: Any) -> None:
        """Clean latents, before they are decoded."""

    def postprocess_batch(self, p: Any, *args: Any, **kwargs: Any) -> None:
        """Decoded pictures: ``images`` (N, 3, H, W) in 0…1, changed in place."""

    def postprocess_batch_list(
        self, p: Any, pp: PostprocessBatchListArgs, *args: Any, **kwargs: Any
    ) -> None:
        """Decoded pictures as a list that may be changed."""

    def postprocess_image(self, p: Any, pp: PostprocessImageArgs, *args: Any) -> None:
        """One picture, before it is pasted back."""

    def postprocess_maskoverlay(self, p: Any, ppmo: PostProcessMaskOverlayArgs, *args: Any) -> None:
        """What will be laid over a repainted picture."""

    def postprocess_image_after_composite(
        self, p: Any, pp: PostprocessImageArgs, *args: Any
    ) -> None:
        """One picture as it will be saved."""

    def postprocess(self, p: Any, processed: Any, *args: Any) -> None:
        """The job is done."""

    def before_component(self, component: Any, **kwargs: Any) -> None:
        """A field of the page will be drawn."""

    def after_component(self, component: Any, **kwargs: Any) -> None:
        """A field of the page was drawn; ``kwargs`` hold its ``elem_id`` and ``label``."""

    def on_before_component(self, callback: Callable[[OnComponent], Any], *, elem_id: str) -> None:
        """Have a function called before the field of that id."""
        listed = self.on_before_component_elem_id or []
        self.on_before_component_elem_id = [*listed, (elem_id, callback)]

    def on_after_component(self, callback: Callable[[OnComponent], Any], *, elem_id: str) -> None:
        """Have a function called after the field of that id."""
        listed = self.on_after_component_elem_id or []
        self.on_after_component_elem_id = [*listed, (elem_id, callback)]

    def describe(self) -> str:
        """Nothing asks for it any more; older scripts define it."""
        return ""

    def elem_id(self, item_id: str) -> str:
        """An id for a field, unlike those of other scripts."""
        shown_in_both = self.show(True) == self.show(False)
        tab = f"{'img2img' if self.is_img2img else 'txt2img'}_" if shown_in_both else ""
        title = re.sub(r"[^a-z_0-9]", "", re.sub(r"\s", "_", self.title().lower()))
        return f"script_{tab}{title}_{item_id}"


class ScriptBuiltinUI(Script):
    """A script that is part of the form; A1111 has some of its own."""

    setup_for_ui_only = True


@dataclass(frozen=True)
class ScriptClass:
    """A class found in a script file.

    Attributes:
        made: The class. file: Where it was found. owner: The extension's canonical name.
    """

    made: type[Any]
    file: Path
    owner: str
    base: Path = field(default_factory=Path)

    @property
    def canonical_name(self) -> str:
        return f"{self.owner}/{self.file.name.lower()}"
