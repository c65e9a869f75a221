"""Every moment an extension may join, on one page. API version 1.

An extension is a folder in ``extensions/`` with an ``extension.toml`` and up to two modules:
``web.py`` is loaded in the web process (which never imports torch), ``model.py`` in the worker
(which owns the device). Either joins moments by functions of these names, marked ``@hook``; a
function may leave out arguments it does not need. docs/extensions.md shows how.

Three kinds of moments, by what becomes of the answer:

- *told*: the answer is ignored.
- *listed*: the answer is a list; all extensions' lists are put together.
- *changed*: the answer takes the place of the first argument, for the extensions after this one
  too; None leaves it as it is. Nothing that is handed over may be changed in place.

Extensions are called in the order of their names; ``@hook(tryfirst=True)`` and ``trylast=True``
move one to the front or the end. Every call is fenced: what it raises is recorded under the
extension's name and the program goes on as if it had answered None; so does a call that takes
longer than ``seconds``. An extension that fails too often is left out until the next start. In a
moment that ``may_refuse`` a ``webui.errors.ParamsError`` is no failure: it refuses what was asked
for, and its sentence is told to whoever asked.

What is handed over and answered stands in ``webui.hook_types``, fields of forms in
``webui.extension_forms``; extensions find all of it here.

A moment with ``values`` or ``job`` is asked only of extensions that act on that job: those whose
form is switched on, and those that have no switch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pluggy

from webui.errors import ParamsError
from webui.extension_forms import (
    AnyField,
    Axis,
    AxisChoice,
    Choice,
    Condition,
    Form,
    ModelFile,
    Number,
    Picture,
    PlanField,
    Switch,
    TabName,
    Text,
    Values,
    Whole,
    Words,
    under_labels,
)
from webui.hook_types import (
    MANY,
    Drawable,
    Estimates,
    FaceRestorer,
    Job,
    JobKind,
    NameKind,
    Names,
    Offer,
    Pass,
    Plan,
    Sampler,
    SavedPicture,
    Schedule,
    Sheet,
    SheetLabel,
    Step,
    Tab,
    Tagger,
    Texts,
    Upscaler,
)

if TYPE_CHECKING:
    from fastapi import APIRouter
    from PIL.Image import Image
    from torch import Tensor

    from webui.params import Painting
    from webui.pipelines.conditioning import Conditioning

__all__ = [
    "API_VERSION", "MANY", "MOMENTS", "MOST_DRAWN_CHARACTERS", "PROJECT", "AnyField", "Axis",
    "AxisChoice", "Choice", "Condition", "Drawable", "Estimates", "FaceRestorer", "Form", "Hooks",
    "Job", "JobKind", "ModelFile", "Moment", "NameKind", "Names", "Number", "Offer", "ParamsError",
    "Pass", "Picture", "Plan", "PlanField", "Sampler", "SavedPicture", "Schedule", "Sheet",
    "SheetLabel", "Step", "Switch", "Tab", "TabName", "Tagger", "Text", "Texts", "Upscaler",
    "Values", "Whole", "Words", "hook", "under_labels",
]  # fmt: skip

API_VERSION = 1
"""What ``api`` in extension.toml must say. It grows when a moment changes its meaning or goes;
moments, arguments and fields that are added leave it as it is."""
PROJECT = "danqing"
hook = pluggy.HookimplMarker(PROJECT)
_spec = pluggy.HookspecMarker(PROJECT)
Process = Literal["web", "worker"]
Answer = Literal["told", "listed", "changed"]
SomeHook = TypeVar("SomeHook", bound=Callable[..., Any])
MOST_DRAWN_CHARACTERS = 16_000_000
"""Of all prompts of a job, which lie in its row."""
WEB_SECONDS, STEP_SECONDS, LONG_SECONDS, JOB_SECONDS = 5.0, 60.0, 600.0, 86400.0
PLAN_SECONDS = 30.0


@dataclass(frozen=True)
class Moment:
    """What is known of a moment beside its docstring.

    Attributes:
        process: Where it is called. answer: See the module.
        seconds: How long one call may take. may_refuse: See the module.
    """

    name: str
    process: Process
    answer: Answer
    seconds: float
    may_refuse: bool = False


def _moment(
    process: Process, answer: Answer, seconds: float = 0.0, *, may_refuse: bool = False
) -> Callable[[SomeHook], SomeHook]:
    usual = WEB_SECONDS if process == "web" else STEP_SECONDS

    def mark(function: SomeHook) -> SomeHook:
        moment = Moment(function.__name__, process, answer, seconds or usual, may_refuse)
        function.moment = moment  # type: ignore[attr-defined]
        return _spec(function)

    return mark


class Hooks:
    """The moments."""

    # In the web process: web.py

    @_moment("web", "told")
    def loaded(self, data: Path, programs: Sequence[Path]) -> None:
        """The extension was loaded; nothing else has been asked of it.

        Args:
            data: The data folder, in which people keep files of their own.
            programs: Folders of other programs of this kind whose files are used here, too.
        """
        ...

    @_moment("web", "listed")
    def forms(self) -> Sequence[Form]:
        """Blocks of fields on the painting tabs and the Extras tab; asked once, after loading."""
        ...

    @_moment("web", "listed")
    def settings(self) -> Sequence[AnyField]:
        """Fields that are chosen once for all jobs; kept in config.json under ``extensions``. Their
        values are among every job's ``values``."""
        ...

    @_moment("web", "listed")
    def tabs(self) -> Sequence[Tab]:
        """Tabs of the extension's own."""
        ...

    @_moment("web", "listed")
    def job_kinds(self) -> Sequence[JobKind]:
        """Kinds of jobs of the extension's own; ``run_job`` runs them in the worker."""
        ...

    @_moment("web", "listed", PLAN_SECONDS)
    def plans(self) -> Sequence[Plan]:
        """Ways to make many pictures of one request; asked once, after loading."""
        ...

    @_moment("web", "told")
    def routes(self, router: APIRouter) -> None:
        """Add HTTP routes; they lie below ``/extensions/<name>/``, behind the same password as the
        rest. Handlers are plain ``def`` (``async def`` is refused) and have ``seconds`` to answer.

        Args:
            router: The extension's own.
        """
        ...

    @_moment("web", "changed")
    def rewrite_prompt(self, text: str, which: str, values: Values) -> str | None:
        """A prompt is made complete: styles are merged, comments cut; nothing is drawn yet.
        What is answered is what the job asks for and what its recipe says.

        Args:
            text: The prompt.
            which: ``prompt``, ``negative_prompt``, ``hires_prompt`` or ``hires_negative_prompt``.
            values: The extension's fields.
        """
        ...

    @_moment("web", "changed", STEP_SECONDS, may_refuse=True)
    def draw_prompts(
        self,
        texts: Sequence[str],
        which: str,
        seeds: Sequence[int],
        combinations: int,
        values: Values,
        warn: Callable[[str], None],
    ) -> Sequence[str] | None:
        """A prompt is complete and may become another text in every picture; asked of extensions
        that act on the request and of those without a form. What is answered is kept in the job,
        which is painted again by it, and in recipes, beside what it was drawn from. Not asked where
        the option ``dynamic_prompts`` is off, as it is for a prompt out of a recipe, which was
        drawn before.

        Args:
            texts: Of each picture; at first all alike. As many are answered, of at most
                ``MOST_DRAWN_CHARACTERS`` in all.
            which: As for ``rewrite_prompt``. A prompt of the second pass that is the same as that
                of the first is not asked for by itself.
            seeds: Of each picture; where all combinations are wanted, of as many as there may be.
            combinations: 0; else all texts there are are wanted, each once, at most so many: that
                will be the number of pictures. Only of ``prompt``.
            warn: Tells whoever asked what could not be drawn.
        """
        ...

    @_moment("web", "listed", STEP_SECONDS)
    def prompt_choices(self, text: str, values: Values) -> Sequence[Drawable]:
        """A prompt was written, or stands in a recipe: what would ``draw_prompts`` make of it?
        Nothing is answered where it stays as it is. Asked of extensions without a form.

        Args:
            text: Comments are cut.
        """
        ...

    @_moment("web", "listed", STEP_SECONDS)
    def prompt_offers(self, typed: str, values: Values) -> Sequence[Offer]:
        """A prompt is being written. Asked of extensions without a form.

        Args:
            typed: From the last separator to the cursor, spaces among it; ``__`` and what follows
                when it is a name between underscores.
        """
        ...

    @_moment("web", "changed")
    def params_resolved(self, params: Painting, values: Values) -> Painting | None:
        """A request is complete and about to be frozen into its job; answer a changed copy
        (``params.model_copy(update={…})``), which is checked once more."""
        ...

    @_moment("web", "changed")
    def scripts_read(
        self, scripts: dict[str, Any], warn: Callable[[str], None]
    ) -> dict[str, Any] | None:
        """A request over the API names ``alwayson_scripts``. Extensions are asked for by their
        names without this; it is for other programs' names.

        Args:
            scripts: Name → entry, such as ``{"args": […]}``; those of A1111 folders are not there.
            warn: Tells the client what is not followed.
        """
        ...

    @_moment("web", "changed")
    def infotext_read(self, pairs: dict[str, str]) -> dict[str, str] | None:
        """A recipe was read, to fill a form or a request: all its pairs as text. Values of declared
        fields come back by themselves; this is for old spellings and other programs' keys."""
        ...

    @_moment("web", "changed")
    def before_save(self, picture: SavedPicture, values: Values) -> SavedPicture | None:
        """A finished picture is about to be written. Of the answer ``data`` and ``infotext``
        count; the format stays."""
        ...

    @_moment("web", "told")
    def after_save(self, picture: SavedPicture, values: Values) -> None:
        """A picture is in the library; ``path`` is its file."""
        ...

    @_moment("web", "told")
    def job_ended(self, job_id: int, state: str, values: Values) -> None:
        """A job's row is final.

        Args:
            state: ``done``, ``failed`` or ``cancelled``.
        """
        ...

    # In the worker: model.py. Tensors lie on the device, in inference mode.

    @_moment("worker", "listed")
    def samplers(self) -> Sequence[Sampler]:
        """Samplers; asked once, after loading."""
        ...

    @_moment("worker", "listed")
    def schedules(self) -> Sequence[Schedule]:
        """Schedules; asked once, after loading."""
        ...

    @_moment("worker", "listed")
    def upscalers(self) -> Sequence[Upscaler]:
        """Upscalers; asked once, after loading. Networks are loaded at first use."""
        ...

    @_moment("worker", "listed")
    def face_restorers(self) -> Sequence[FaceRestorer]:
        """Face restorers; asked once, after loading."""
        ...

    @_moment("worker", "listed")
    def taggers(self) -> Sequence[Tagger]:
        """Taggers; asked once, after loading."""
        ...

    @_moment("worker", "told")
    def before_job(self, job: Job) -> None:
        """A painting job begins; nothing is loaded yet."""
        ...

    @_moment("worker", "changed")
    def before_conditioning(self, texts: Texts, job: Job) -> Texts | None:
        """Prompts are about to be read and encoded, once for each pass of each group of pictures.
        Recipes do not tell what is changed here; ``rewrite_prompt`` is for that."""
        ...

    @_moment("worker", "changed")
    def after_conditioning(self, conditioning: Conditioning, job: Job) -> Conditioning | None:
        """Prompts are encoded; see ``webui.pipelines.conditioning.Conditioning``. Answer a changed
        copy (``dataclasses.replace``); encodings are remembered between jobs."""
        ...

    @_moment("worker", "changed")
    def before_pass(self, start: Pass, job: Job) -> Pass | None:
        """A walk is about to begin: the first pass, hires fix's second one, each round of a
        loopback. Of the answer ``noise``, ``init_latents`` and ``conditioning`` count."""
        ...

    @_moment("worker", "changed")
    def before_step(self, latents: Tensor, step: Step, job: Job) -> Tensor | None:
        """The network is about to be called.

        Args:
            latents: (B, 4, H/8, W/8) float32, clean latents plus noise of spread ``step.sigma``.
        """
        ...

    @_moment("worker", "changed")
    def after_model(self, estimates: Estimates, step: Step, job: Job) -> Estimates | None:
        """The network was called; guidance has not been applied."""
        ...

    @_moment("worker", "changed")
    def after_guidance(self, denoised: Tensor, step: Step, job: Job) -> Tensor | None:
        """The guided estimate, which the sampler steps towards: (B, 4, H/8, W/8) float32."""
        ...

    @_moment("worker", "changed")
    def after_pass(self, latents: Tensor, stage: str, job: Job) -> Tensor | None:
        """A walk has ended.

        Args:
            latents: (B, 4, H/8, W/8) float32, clean, VAE-scaled.
            stage: As in ``Pass``.
        """
        ...

    @_moment("worker", "changed")
    def after_decode(self, images: list[Image], job: Job) -> list[Image] | None:
        """Latents were decoded: RGB pictures, as many as before must be answered. Faces are not
        restored and masks not pasted back yet; the pictures between two passes come here too."""
        ...

    @_moment("worker", "changed", LONG_SECONDS)
    def picture_finished(self, image: Image, index: int, seed: int, job: Job) -> Image | None:
        """A picture is finished, before its recipe is put in.

        Args:
            image: RGB. index: Number in the job, from 0. seed: Its own.
        """
        ...

    @_moment("worker", "changed")
    def infotext_written(
        self, pairs: dict[str, Any], index: int, job: Job
    ) -> dict[str, Any] | None:
        """A picture's recipe is about to be written.

        Args:
            pairs: What extensions add to it, declared fields among them, in their order; a value
                of None writes nothing.
        """
        ...

    @_moment("worker", "told")
    def after_job(self, job: Job) -> None:
        """A painting job has ended, well or not; let go of what it needed."""
        ...

    @_moment("worker", "changed", LONG_SECONDS)
    def extras_picture(self, image: Image, job: Job) -> Image | None:
        """A step of the Extras tab, after upscaling and faces, for extensions with a form there.

        Args:
            image: RGB, 8-bit.
        """
        ...

    @_moment("worker", "listed", JOB_SECONDS)
    def run_job(self, kind: str, job: Job) -> Sequence[Mapping[str, Any]]:
        """Run a job of the extension's own; asked of its owner alone.

        Args:
            kind: The ``JobKind``'s name.
        Returns:
            One dict of plain JSON: the job's result. What it raises fails the job.
        """
        ...


MOMENTS: Mapping[str, Moment] = {
    name: function.moment for name, function in vars(Hooks).items() if hasattr(function, "moment")
}
"""All of them by name, in the order above."""
