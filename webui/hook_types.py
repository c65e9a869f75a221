"""What moments hand over, and what extensions answer with: the data of ``webui.hookspecs``, which
hands all of it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from webui.extension_forms import AnyField, PlanField, TabName, Values, Words

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from webui.pipelines.conditioning import Conditioning

NO_WORDS = Words()
NameKind = Literal[
    "checkpoint", "vae", "sampler", "schedule", "upscaler", "hires_upscaler", "face_restorer",
    "style",
]  # fmt: skip
SheetLabel = str | Sequence[str | tuple[str, bool]]
"""A text, or lines; a line with False behind it is struck through."""
MANY = 10**9
"""What is counted as no more than that."""


class Job(Protocol):
    """The job at work, as one extension sees it; in the worker."""

    @property
    def id(self) -> int:
        """Its number in the queue."""
        ...

    @property
    def params(self) -> Any:
        """The whole frozen request, such as ``webui.params.TextToImage``."""
        ...

    @property
    def values(self) -> Mapping[str, Any]:
        """This extension's fields and settings, as they were when the job was asked for."""
        ...

    @property
    def state(self) -> dict[str, Any]:
        """This extension's own, for the length of this job."""
        ...

    def picture(self, field: str) -> Image | None:
        """The picture of a ``Picture`` field, RGB or RGBA; None where there is none."""
        ...

    def file(self, field: str) -> Path | None:
        """The file of a ``ModelFile`` field; None where none is chosen or it is not there."""
        ...

    def warn(self, text: str) -> None:
        """Tell whoever asked for the job; shown beside its pictures."""
        ...

    def should_stop(self) -> bool:
        """True once the person asked to stop. Ask about once a second in long work."""
        ...

    def progress(self, done: int, total: int) -> None:
        """Report how far long work is."""
        ...

    def repaint(self, image: Image, mask: Image | None = None, **changes: Any) -> Image:
        """Paint a picture anew with the job's own request; no extension acts on that.

        Args:
            image: RGB; of the size that is painted, unless ``changes`` say another.
            mask: White = repaint; None = all of it. Of the picture's size.
            changes: Fields of ``webui.params.ImageToImage`` that differ, such as ``prompt``,
                ``denoising_strength``, ``seed``, ``inpaint``.
        Raises:
            JobCancelled: The person stopped meanwhile. WebUIError: It cannot be painted.
        """
        ...


@dataclass(frozen=True)
class Texts:
    """Prompts about to be encoded: networks' tags are still in them."""

    prompt: str
    negative_prompt: str


@dataclass(frozen=True)
class Pass:
    """A walk that is about to begin.

    Attributes:
        stage: ``sampling``, or ``hires`` for a second pass.
        noise: (B, 4, H/8, W/8) float32 unit noise.
        init_latents: (B, 4, H/8, W/8) clean latents it begins with; None = pure noise.
        seeds: Of the B pictures. indices: Their numbers in the job.
        conditioning: The encoded prompts.
    """

    stage: str
    noise: Tensor
    init_latents: Tensor | None
    seeds: Sequence[int]
    indices: Sequence[int]
    conditioning: Conditioning


@dataclass(frozen=True)
class Step:
    """A network call.

    Attributes:
        call: 0-based number in this pass; samplers of second order call twice in a step.
        total: Calls of the whole pass, foretold.
        sigma: Noise level of the latents, sigma units, > 0.
    """

    call: int
    total: int
    sigma: float


@dataclass(frozen=True)
class Estimates:
    """What the network said before guidance.

    Attributes:
        conds: For each part joined by AND, (B, 4, H/8, W/8) float32 clean estimates.
        uncond: Likewise for the negative prompt; None in calls that skip it.
    """

    conds: tuple[Tensor, ...]
    uncond: Tensor | None


@dataclass(frozen=True)
class SavedPicture:
    """A picture on its way to the disk, or there.

    Attributes:
        data: The file's bytes, recipe included. format: png, jpg, webp or avif.
        infotext: The recipe. index: Number of the picture in its job.
        path: Where it is; None before it is written, or when it is not to be.
    """

    job_id: int
    index: int
    data: bytes = field(repr=False)
    format: str
    infotext: str
    path: Path | None = None


@dataclass(frozen=True)
class Tab:
    """A tab of the extension's own.

    Attributes:
        title: A plain text or a pair (English, Chinese) will do.
        page: An HTML file of the extension's folder, shown in a frame; what it links lies beside
            it. It may call the extension's routes, and those of the API.
    """

    title: Words
    page: str = "page.html"

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", Words.model_validate(self.title))


@dataclass(frozen=True)
class Drawable:
    """A prompt that may become several texts.

    Attributes:
        count: How many; ``MANY`` = that or more, 0 = it cannot be drawn.
        note: What it lacks, in a few words. problem: Why it cannot be drawn.
    """

    count: int
    note: Words = NO_WORDS
    problem: str = ""


@dataclass(frozen=True)
class Offer:
    """A way to go on with a prompt.

    Attributes:
        text: What takes the place of what was typed. name: What is shown.
        label: What kind of thing it is, in a word or two.
    """

    text: str
    name: str
    label: Words = NO_WORDS


@dataclass(frozen=True)
class JobKind:
    """Work of the extension's own that goes through the queue.

    Attributes:
        name: Unique in the extension. title: As of a ``Tab``. fields: What it is asked with.
    """

    name: str
    title: Words = NO_WORDS
    fields: tuple[AnyField, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", Words.model_validate(self.title))


class Names(Protocol):
    """What requests can name on this computer, for plans.

    Kinds: ``checkpoint``, ``vae``, ``sampler``, ``schedule``, ``upscaler``, ``hires_upscaler``,
    ``face_restorer``, ``style``.
    """

    def all(self, kind: NameKind) -> Sequence[str]:
        """All of a kind, as menus list them."""
        ...

    def find(self, kind: NameKind, text: str) -> str:
        """The one that is meant by what a person wrote, as requests name it.

        Raises:
            ParamsError, CheckpointNotFoundError: There is none; let it through.
        """
        ...

    def seed(self, wanted: Any) -> int:
        """A seed as a number; -1 and what is none are drawn."""
        ...


@dataclass(frozen=True)
class Sheet:
    """What a plan comes to: many requests, told by what differs from the one they are made of.

    Attributes:
        cells: For each picture of the sheet the fields that differ, such as ``{"steps": 30}``;
            of fields with parts only these parts: ``{"hires": {"scale": 2}}``, and so on downwards.
            Sheet by sheet, row by row. They are taken only as long as they fit: a generator may be
            given.
        columns, rows, sheets: Labels; without those of columns and rows the sheet is as square as
            can be.
        pairs: What the sheet's recipe says beside the fields of the plan.
        has_legend: Labels are drawn. margin: Pixels between cells.
        include_lone_images: The cells' pictures are shown beside the sheet.
        include_sub_grids: Each of several sheets is kept by itself, too.
        is_drawn: False = there is no sheet; the pictures only belong together.
    """

    cells: Iterable[Mapping[str, Any]]
    columns: Sequence[SheetLabel] = ()
    rows: Sequence[SheetLabel] = ()
    sheets: Sequence[SheetLabel] = ()
    pairs: Sequence[tuple[str, str]] = ()
    has_legend: bool = True
    margin: int = 0
    include_lone_images: bool = False
    include_sub_grids: bool = False
    is_drawn: bool = True


def _as_they_are(arguments: dict[str, Any]) -> dict[str, Any]:
    return arguments


@dataclass(frozen=True)
class Plan:
    """Makes many requests of one, in the menu of scripts. Its pictures are jobs of the queue, in
    the order in which checkpoints are loaded least often; a sheet of them is laid out at the end.

    Attributes:
        name: Small letters, digits and ``_``; unique. title: As of a ``Tab``; recipes and requests
            over A1111's API (``script_name``) call it by the English one, which is unique, too.
        sheet: ``(request, values, names)`` to a ``Sheet``. The request is frozen, with fields as of
            ``webui.params.Painting``; None = what the options say. Asked at every change of the
            form, with ``seconds`` to answer; what ``ParamsError`` says is told to the person.
        fields: What it is asked with. help: A word above them. tabs: Where it can be chosen.
        arguments: ``script_args`` over A1111's API, where they are others than ``fields``; an axis
            takes three: its name or number, values as a text, values as a list (under the axis'
            key ``chosen``).
        from_arguments: Their values to those of ``fields``.
    """

    name: str
    title: Words
    sheet: Callable[[Any, Values, Names], Sheet]
    fields: tuple[PlanField, ...] = ()
    help: Words = NO_WORDS
    tabs: tuple[TabName, ...] = ("txt2img", "img2img")
    arguments: tuple[PlanField, ...] = ()
    from_arguments: Callable[[dict[str, Any]], dict[str, Any]] = _as_they_are

    def __post_init__(self) -> None:
        for words in ("title", "help"):
            object.__setattr__(self, words, Words.model_validate(getattr(self, words)))


@dataclass(frozen=True)
class Sampler:
    """A sampler.

    Attributes:
        name: As people choose it; also under ``[offers] samplers`` in extension.toml.
        step: As the functions in webui/samplers/: ``(denoiser, latents, sigmas, cond, *, noise,
            on_step)`` to clean latents; sigmas descend and end in 0; ``on_step`` is told of each.
    """

    name: str
    step: Callable[..., Tensor]


@dataclass(frozen=True)
class Schedule:
    """A way to space noise levels.

    Attributes:
        name: As people choose it; also under ``[offers] schedules``.
        sigmas: ``(steps, sigma_min, sigma_max)`` to ``steps`` descending numbers, all > 0; the 0
            at the end is put there for it.
    """

    name: str
    sigmas: Callable[[int, float, float], Iterable[float]]


@dataclass(frozen=True)
class Upscaler:
    """Makes pictures larger.

    Attributes:
        name: As people choose it; also under ``[offers] upscalers``.
        enlarge: ``(image, width, height)`` to an RGB picture of exactly that size.
    """

    name: str
    enlarge: Callable[[Image, int, int], Image]


@dataclass(frozen=True)
class FaceRestorer:
    """Makes faces of painted pictures clear.

    Attributes:
        name: As people choose it; also under ``[offers] face_restorers``.
        restore: ``(image, weight)`` to a picture of the same size; weight 0–1, 0 = strongest.
    """

    name: str
    restore: Callable[[Image, float], Image]


@dataclass(frozen=True)
class Tagger:
    """Puts pictures into words.

    Attributes:
        name: As people choose it; also under ``[offers] taggers``.
        describe: ``(image, threshold)`` to a line of tags; threshold 0–1.
    """

    name: str
    describe: Callable[[Image, float], str]
