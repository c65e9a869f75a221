"""Scripts of the Extras tab, and the picture they hand on.

Source:
    A1111 1.10's ``scripts_postprocessing``: fields, order and file name suffixes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from webui.extensions.a1111.fences import Fence


class ScriptPostprocessing:
    """A step of Extras.

    Attributes:
        order: Steps with smaller ones come first; then their names decide.
        controls: Fields by name.
    """

    filename: str | None = None
    controls: Any = None
    args_from: int | None = None
    args_to: int | None = None
    group: Any = None
    name: str = ""
    order: float = 1000
    extra_only: bool = False
    main_ui_only: bool = False
    extension: str = ""

    def ui(self) -> Any:
        """Draw the fields; returns a dict of them by argument name."""

    def process(self, pp: PostprocessedImage, **args: Any) -> None:
        """Work over ``pp.image``."""

    def process_firstpass(self, pp: PostprocessedImage, **args: Any) -> None:
        """Called for all steps before the first one works."""

    def image_changed(self) -> None:
        """Another picture comes."""


@dataclass
class Shared:
    """What steps tell each other.

    Attributes:
        target_width, target_height: Of the result, in pixels; None while nobody knows.
    """

    target_width: int | None = None
    target_height: int | None = None


@dataclass
class PostprocessedImage:
    """A picture on its way through the steps.

    Attributes:
        image: PIL. info: What the recipe says of it, by key.
        extra_images: Further pictures, or objects of this class, that go on to the next steps.
        nametags: Put behind the file's name.
        caption: Words for training, written beside the saved picture; None or '' = none.
    """

    image: Any
    info: dict[str, Any] = field(default_factory=dict[str, Any])
    shared: Shared = field(default_factory=Shared)
    extra_images: list[Any] = field(default_factory=list[Any])
    nametags: list[str] = field(default_factory=list[str])
    disable_processing: bool = False
    caption: str | None = None

    def get_suffix(self, used_suffixes: dict[str, int] | None = None) -> str:
        """The name tags as the end of a file's name; counted where one is there already."""
        used = {} if used_suffixes is None else used_suffixes
        tags = "-".join(self.nametags)
        suffix = f"-{tags}" if tags else ""
        count = used.get(suffix, 1)
        used[suffix] = count + 1
        return suffix if count == 1 else f"{suffix}-{count}"

    def create_copy(
        self,
        new_image: Any,
        *,
        nametags: list[str] | None = None,
        disable_processing: bool = False,
    ) -> PostprocessedImage:
        """Another picture of the same recipe."""
        return PostprocessedImage(
            new_image,
            info=dict(self.info),
            shared=self.shared,
            nametags=[*self.nametags, *(nametags or [])],
            disable_processing=disable_processing,
            caption=self.caption,
        )


def told_of_steps(picture: PostprocessedImage) -> dict[str, str]:
    """What steps want a picture's recipe to say."""
    return {str(key): str(value) for key, value in picture.info.items() if value is not None}


@dataclass
class ExtrasSteps:
    """The steps of all extensions, in their order.

    Attributes:
        steps: Objects made of the classes that were found.
        first: Names that people want before all others.
    """

    fence: Fence
    steps: list[ScriptPostprocessing]
    first: tuple[str, ...] = ()

    def in_order(self) -> list[ScriptPostprocessing]:
        """As people want them; then by ``order`` and name."""
        wanted = self.first

        def place(step: ScriptPostprocessing) -> tuple[int, float, str]:
            chosen = wanted.index(step.name) if step.name in wanted else len(wanted)
            return (chosen, step.order, step.name)

        return sorted(self.steps, key=place)

    def run(
        self, image: Any, arguments: dict[str, dict[str, Any]], info: dict[str, Any] | None = None
    ) -> list[PostprocessedImage]:
        """Work over a picture.

        Args:
            arguments: Of each step, by its name; steps that are not named do nothing.
        Returns:
            The picture, then those that steps added.
        """
        first = PostprocessedImage(image.convert("RGB"), info=dict(info or {}))
        steps = [step for step in self.in_order() if step.name in arguments]
        for step in steps:
            self.fence.call(step.extension, "image_changed", step.image_changed)
        for step in steps:
            self._call(step, "process_firstpass", first, arguments[step.name])
        pictures = [first]
        for step in steps:
            grown: list[PostprocessedImage] = []
            for picture in pictures:
                grown.append(picture)
                if picture.disable_processing:
                    continue
                self._call(step, "process", picture, arguments[step.name])
                added, picture.extra_images = picture.extra_images, []
                grown += [
                    one if isinstance(one, PostprocessedImage) else picture.create_copy(one)
                    for one in added
                ]
            pictures = grown
        return pictures

    def _call(
        self, step: ScriptPostprocessing, method: str, pp: PostprocessedImage, args: dict[str, Any]
    ) -> None:
        self.fence.call(step.extension, method, getattr(step, method), pp, **args)
