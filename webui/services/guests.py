"""What guests may ask for: pictures, of a bounded number and size, with settings of pictures alone.

Every job of both doors goes by here on its way into the queue.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from webui.errors import ParamsError
from webui.options import OPTION_OF_INFOTEXT_KEY, Options
from webui.params import AnyParams, ImageToImage, Plot, TextToImage
from webui.roles import is_guest
from webui.services.plots.plots import painted_size
from webui.services.resolve import AnyRequest
from webui.settings import PROJECT_DIR, Folders

GUEST_OVERRIDES = frozenset(OPTION_OF_INFOTEXT_KEY.values())
"""Settings that recipes name: they decide how a picture looks, not what this machine does."""


class Guests:
    """Limits of guests, by the options of this moment.

    Args:
        options: Hold the limits (``guest_…``).
        waiting: How many jobs of a user wait.
        folders: Those of this machine, which guests are not told of.
    """

    def __init__(self, options: Options, waiting: Callable[[str], int], folders: Folders) -> None:
        self._options = options
        self._waiting = waiting
        self._folders = private_folders(folders)

    def check_request(self, request: AnyRequest) -> None:
        """Raises ParamsError when a guest's request changes a setting that is no picture's, or
        calls extensions."""
        if not is_guest(request.user):
            return
        others = sorted(set(request.overrides) - GUEST_OVERRIDES)
        if others:
            raise ParamsError(
                f"Guests may not change the setting {others[0]!r}.",
                "Leave it out, or ask the owner.",
                field="override_settings",
            )
        if request.extensions:
            raise ParamsError(
                "Extensions are for the owner alone.",
                "Leave them out, or ask the owner.",
                field="alwayson_scripts",
            )

    def check(self, user: str, wanted: Sequence[AnyParams]) -> None:
        """Look at jobs before they are put into the queue, all of them together.

        Raises:
            ParamsError: A guest asks for too much, or for something else than pictures.
        """
        if not is_guest(user):
            return
        for params in wanted:
            self.check_one(user, params)
        most = int(self._options["guest_waiting_jobs"])
        if self._waiting(user) + len(wanted) > most:
            raise ParamsError(
                f"At most {most} jobs of a guest may wait.",
                "Ask for fewer, or wait until some are done.",
            )

    def check_one(self, user: str, params: AnyParams) -> None:
        """The same for one job, whether it is put into the queue or not. Raises as ``check``."""
        if not is_guest(user) or isinstance(params, Plot):
            return  # a plot lays out what its cells, which are looked at as well, have painted
        if not isinstance(params, TextToImage | ImageToImage):
            raise ParamsError(
                f"Guests paint; {params.kind} is for the owner alone.", "Ask the owner."
            )
        width, height = painted_size(params)
        pictures, megapixels, steps = params.image_count, width * height / 1e6, steps_of(params)
        if pictures > (most := self._options["guest_pictures"]):
            raise ParamsError(
                f"{pictures} pictures were asked for; a job of a guest may have {most}.",
                "Ask for less.",
                field="batch_count",
            )
        if megapixels > (most := self._options["guest_megapixels"]):
            raise ParamsError(
                f"{megapixels:g} megapixels were asked for; a job of a guest may have {most:g}.",
                "Ask for less.",
                field="width",
            )
        if steps > (most := self._options["guest_steps"]):
            raise ParamsError(
                f"{steps} steps were asked for; a job of a guest may have {most}.",
                "Ask for less.",
                field="steps",
            )

    def told(self, user: str, text: str) -> str:
        """A sentence as this user may read it: guests see files by their names within our folders,
        never where those lie."""
        return without_folders(text, self._private()) if is_guest(user) else text

    def _private(self) -> Iterable[str]:
        """What no guest is told: our folders, and those of pictures, wherever they were put."""
        chosen = self._options.as_dict()
        outputs = (Path(chosen[key] or "") for key in chosen if key.startswith("outdir_"))
        elsewhere = {str(one) for one in outputs if one.is_absolute() and len(one.parts) > 1}
        return sorted({*self._folders, *elsewhere}, key=len, reverse=True)


def steps_of(params: TextToImage | ImageToImage) -> int:
    """Steps of one picture, the second pass and the rounds of a loopback included."""
    if isinstance(params, TextToImage):
        second = (params.hires.steps or params.steps) if params.hires else 0
        return params.steps + second
    return params.steps * (params.loopback.loops if params.loopback else 1)


def private_folders(folders: Folders) -> tuple[str, ...]:
    """What the paths of this machine begin with, the longest first."""
    extra = (
        *folders.models, *folders.checkpoints, *folders.vaes, *folders.loras, *folders.embeddings,
        *folders.hypernetworks, *folders.upscalers, *folders.programs,
    )  # fmt: skip
    found = {PROJECT_DIR, folders.data, Path.home(), Path(tempfile.gettempdir()), *extra}
    texts = {str(folder) for folder in found if len(folder.parts) > 1}
    return tuple(sorted(texts, key=len, reverse=True))


def without_folders(text: str, folders: Iterable[str]) -> str:
    """The text with every path cut to what stands behind the folder's own."""
    for folder in folders:
        text = text.replace(f"{folder}/", "").replace(f"{folder}\\", "").replace(folder, "…")
    return text
