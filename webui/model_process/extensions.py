"""Extensions in the model process: their worker parts, what they offer, and one job's view of them.

A part is loaded when the first job needs it and stays; see ``webui.hookspecs`` for the moments.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from torch import Tensor

from webui.errors import ExtensionError, JobCancelled
from webui.extensions.fence import PASSES, Fence, Noted, Trouble, describe
from webui.extensions.folders import Extension
from webui.extensions.loading import forget, import_part
from webui.extensions.note import Note, label
from webui.extensions.plugins import Plugins
from webui.hookspecs import (
    Estimates,
    FaceRestorer,
    Pass,
    Sampler,
    Schedule,
    Step,
    Tagger,
    Texts,
    Upscaler,
)
from webui.pictures import load_upright
from webui.pipelines.moments import Call, Moments
from webui.pipelines.upscaling import WholeUpscaler
from webui.progress import Interrupted
from webui.samplers.names import (
    SamplerInfo,
    ScheduleInfo,
    add_sampler,
    add_schedule,
    remove_sampler,
    remove_schedule,
)
from webui.samplers.rules import Rule, add_rule, remove_rule
from webui.samplers.schedules import add_formula, remove_formula

if TYPE_CHECKING:
    from webui.params import ExtensionJob
    from webui.pipelines.conditioning import Conditioning

LOADING, LOADING_SECONDS = "loading", 120.0
NO_LIMIT_SECONDS = 1e9
"""Of samplers and upscalers: they are noted, so that a crash has a name, but may take long."""
Send = Callable[[dict[str, Any]], None]
Repaint = Callable[[Image.Image, "Image.Image | None", Mapping[str, Any]], Image.Image]


class Extensions:
    """All worker parts of this process.

    Args:
        note: File in which calls are noted. send: Gives the web process a message.
    """

    def __init__(self, note: Path, send: Send) -> None:
        self._note = Note(note)
        self._send = send
        self.fence = Fence(Noted(self._note), self._tell)
        self.plugins = Plugins("worker", self.fence)
        self._prints: dict[str, str] = {}
        self._undo: dict[str, list[Callable[[], None]]] = {}
        self.upscalers: dict[str, OfferedUpscaler] = {}
        self.face_restorers: dict[str, OfferedFaces] = {}
        self.taggers: dict[str, OfferedTagger] = {}
        self._warn: Callable[[Trouble], None] | None = None

    def _tell(self, trouble: Trouble) -> None:
        self._send({"type": "extension", "trouble": trouble.to_json()})
        if self._warn is not None:
            self._warn(trouble)

    @contextlib.contextmanager
    def job(
        self, params: Any, message: Mapping[str, Any], context: JobContext
    ) -> Iterator[JobExtensions | None]:
        """The extensions of one job, loaded; None when none acts on it.

        Args:
            message: The supervisor's ``run`` message; ``extensions`` says which are wanted.
        """
        told: Mapping[str, Any] | None = message.get("extensions")
        if told is None:
            yield None
            return
        warned: set[str] = set()

        def warn(trouble: Trouble) -> None:
            if trouble.plugin not in warned:
                warned.add(trouble.plugin)
                context.warn(
                    f"The extension {trouble.plugin} failed in {trouble.moment} and was passed "
                    f"over: {trouble.message} (in log/worker.log under {trouble.id})."
                )

        self._warn = warn
        try:
            self._load_all(told["wanted"])
            values: Mapping[str, Any] = getattr(params, "extensions", {})  # some kinds have none
            acting = {n: v for n, v in values.items() if n in self.plugins.names}
            yield JobExtensions(self, params, acting, told, context)
        finally:
            self._warn = None

    def close(self) -> None:
        """Let go of all of them."""
        self._load_all(())
        self._note.close()

    def _load_all(self, wanted: Sequence[Mapping[str, Any]]) -> None:
        names = {facts["name"] for facts in wanted}
        for name in [n for n in self._prints if n not in names]:
            self._unload(name)
        for facts in wanted:
            if self._prints.get(facts["name"]) != facts["prints"]:
                self._unload(facts["name"])
                self._load(facts)

    def _load(self, facts: Mapping[str, Any]) -> None:
        name = facts["name"]
        self._prints[name] = facts["prints"]  # a part that fails is tried again when it changes
        extension = Extension(
            name, Path(facts["path"]), facts["kind"], model=Path(facts["model"]),
            is_built_in=facts["is_built_in"],
        )  # fmt: skip

        def load() -> None:
            self.plugins.add(name, import_part(extension, "model"))

        self.fence.call(name, LOADING, LOADING_SECONDS, load)
        if name in self.plugins.names:
            self._take_offers(name)

    def _unload(self, name: str) -> None:
        if name in self._prints:
            _call_reversed(self._undo.pop(name, []))
            self.plugins.remove(name)
            forget(name)
            self.fence.forget(name)
            del self._prints[name]

    def _take_offers(self, name: str) -> None:
        undo = self._undo.setdefault(name, [])
        takes: tuple[tuple[str, type[Any], Callable[..., None]], ...] = (
            ("samplers", Sampler, self._take_sampler),
            ("schedules", Schedule, self._take_schedule),
            ("upscalers", Upscaler, partial(self._take_named, self.upscalers, OfferedUpscaler)),
            (
                "face_restorers",
                FaceRestorer,
                partial(self._take_named, self.face_restorers, OfferedFaces),
            ),
            ("taggers", Tagger, partial(self._take_named, self.taggers, OfferedTagger)),
        )
        for moment, kind, take in takes:
            for _, offered in self.plugins.list(moment, {name: {}}):
                self._take(name, moment, offered, kind, take, undo)

    def _take(
        self,
        plugin: str,
        moment: str,
        offered: Any,
        kind: type[Any],
        take: Callable[..., None],
        undo: list[Callable[[], None]],
    ) -> None:
        """Take one thing in; where that fails, nothing of it stays."""
        if not isinstance(offered, kind):
            told = f"it answered with a {type(offered).__name__}; a {kind.__name__} is needed"
            self.fence.record(plugin, moment, told)
            return
        taken: list[Callable[[], None]] = []
        try:
            take(plugin, offered, taken)
        except ValueError as err:
            _call_reversed(taken)
            self.fence.record(plugin, moment, err)
        else:
            undo += taken

    def _take_sampler(self, plugin: str, offered: Sampler, undo: list[Callable[[], None]]) -> None:
        add_sampler(SamplerInfo(offered.name, ()))
        undo.append(partial(remove_sampler, offered.name))
        add_rule(offered.name, Rule(self.named(plugin, offered.name, offered.step)))
        undo.append(partial(remove_rule, offered.name))

    def _take_schedule(
        self, plugin: str, offered: Schedule, undo: list[Callable[[], None]]
    ) -> None:
        add_schedule(ScheduleInfo(offered.name.lower().replace(" ", "_"), offered.name))
        undo.append(partial(remove_schedule, offered.name))
        add_formula(offered.name, self.named(plugin, offered.name, offered.sigmas))
        undo.append(partial(remove_formula, offered.name))

    def _take_named(
        self,
        table: dict[str, Any],
        make: Callable[..., Any],
        plugin: str,
        offered: Any,
        undo: list[Callable[[], None]],
    ) -> None:
        if offered.name in table:
            raise ValueError(f"Another extension offers {offered.name!r} already.")
        table[offered.name] = make(self, plugin, offered)
        undo.append(lambda: table.pop(offered.name, None))

    def named(self, plugin: str, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that a job asked for by name: where it fails, the job does, saying whose it
        is."""
        note = label(plugin, what, NO_LIMIT_SECONDS)

        def call(*args: Any, **options: Any) -> Any:
            self._note.begin(note)
            try:
                return function(*args, **options)
            except (*PASSES, KeyboardInterrupt):
                raise
            except BaseException as err:  # fence: whatever it is, it is the extension's
                trouble = self.fence.record(plugin, what, err)
                raise ExtensionError(
                    f"{what!r} of the extension {plugin} failed: {describe(err)}",
                    f"Choose another one. The log has more under {trouble.id}.",
                    plugin=plugin,
                    hook=what,
                ) from err
            finally:
                self._note.end()

        return call


def _call_reversed(deeds: Sequence[Callable[[], None]]) -> None:
    for deed in reversed(deeds):
        deed()


class OfferedUpscaler(WholeUpscaler):
    """An extension's upscaler, as paintings and the Extras tab use one."""

    def __init__(self, all_of_them: Extensions, plugin: str, offered: Upscaler) -> None:
        super().__init__(offered.name)
        self._enlarge = all_of_them.named(plugin, offered.name, offered.enlarge)

    def enlarged(self, image: Image.Image, width: int, height: int) -> Image.Image:
        large = self._enlarge(image, width, height).convert("RGB")
        if large.size == (width, height):
            return large
        return large.resize((width, height), Image.Resampling.LANCZOS)


class OfferedFaces:
    """An extension's face restorer, as paintings use one."""

    def __init__(self, all_of_them: Extensions, plugin: str, offered: Any) -> None:
        self._restore = all_of_them.named(plugin, offered.name, offered.restore)

    def weighted(self, weight: float) -> _Mender:
        """With this weight, see ``pipelines.supplies.FaceMender``."""
        return _Mender(partial(self._restore, weight=weight))


@dataclass(frozen=True)
class _Mender:
    restore: Callable[[Image.Image], Image.Image]

    def mend(self, image: Image.Image, should_stop: Callable[[], bool]) -> Image.Image:
        """See ``FaceMender``."""
        mended = self.restore(image).convert("RGB")
        return mended if mended.size == image.size else mended.resize(image.size)


class OfferedTagger:
    """An extension's tagger, as interrogation and captions use one."""

    def __init__(self, all_of_them: Extensions, plugin: str, offered: Any) -> None:
        self._describe = all_of_them.named(plugin, offered.name, offered.describe)

    def describe(self, image: Image.Image, threshold: float, character_threshold: float) -> str:
        """See ``describing.open.Describing``."""
        return str(self._describe(image, threshold))


def _nothing_paints(
    image: Image.Image, mask: Image.Image | None, changes: Mapping[str, Any]
) -> Image.Image:
    raise ExtensionError("Nothing paints in this job, so nothing can be painted anew.")


@dataclass
class JobContext:
    """What a job offers its extensions.

    Attributes:
        inputs: Input pictures, key → path. repaint: Set once the job paints.
        index, seed: Of the picture that was finished last.
    """

    number: int
    warn: Callable[[str], None]
    should_stop: Callable[[], bool]
    progress: Callable[[int, int], None]
    inputs: Mapping[str, str]
    repaint: Repaint = _nothing_paints
    index: int = 0
    seed: int | None = None


@dataclass(frozen=True)
class JobView:
    """One extension's view of the job; see ``hookspecs.Job``."""

    params: Any
    values: Mapping[str, Any]
    context: JobContext
    files: Mapping[str, str]
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> int:
        return self.context.number

    def picture(self, field: str) -> Image.Image | None:
        key = self.values.get(field)
        path = self.context.inputs.get(key) if isinstance(key, str) else None
        return load_upright(Path(path)) if path else None

    def file(self, field: str) -> Path | None:
        path = self.files.get(field)
        return Path(path) if path else None

    def warn(self, text: str) -> None:
        self.context.warn(str(text)[:1000])

    def should_stop(self) -> bool:
        return self.context.should_stop()

    def progress(self, done: int, total: int) -> None:
        self.context.progress(done, total)

    def repaint(
        self, image: Image.Image, mask: Image.Image | None = None, **changes: Any
    ) -> Image.Image:
        return self.context.repaint(image, mask, changes)


class JobExtensions(Moments):
    """The extensions that act on one job, as its pipeline asks them."""

    def __init__(
        self,
        all_of_them: Extensions,
        params: Any,
        acting: Mapping[str, Mapping[str, Any]],
        told: Mapping[str, Any],
        context: JobContext,
    ) -> None:
        self._plugins = all_of_them.plugins
        self._all = all_of_them
        self.context = context
        self._declared: Mapping[str, Any] = told.get("infotext", {})
        files: Mapping[str, Mapping[str, str]] = told.get("files", {})
        self._own = {
            name: {"job": JobView(params, values, context, files.get(name, {}))}
            for name, values in acting.items()
        }

    def begin(self) -> None:
        """The job begins."""
        self._plugins.tell("before_job", self._own)

    def end(self) -> None:
        """The job has ended, well or not."""
        self._plugins.tell("after_job", self._own)

    @property
    def sees_texts(self) -> bool:
        """See ``Moments``."""
        moments = ("before_conditioning", "after_conditioning", "before_pass")
        return any(self._plugins.joins(moment, self._own) for moment in moments)

    def before_conditioning(self, prompt: str, negative_prompt: str) -> tuple[str, str]:
        texts = Texts(prompt, negative_prompt)
        texts = self._plugins.change("before_conditioning", texts, self._own)
        return texts.prompt, texts.negative_prompt

    def after_conditioning(self, conditioning: Conditioning) -> Conditioning:
        return self._plugins.change("after_conditioning", conditioning, self._own)

    def before_pass(self, start: Pass) -> Pass:
        return self._plugins.change("before_pass", start, self._own, _fits_pass)

    def before_step(self, latents: Tensor, call: Call) -> Tensor:
        if not self._plugins.joins("before_step", self._own):
            return latents
        step = _step(call)
        return self._plugins.change("before_step", latents, self._own, _fits, step=step)

    def after_model(
        self, conds: tuple[Tensor, ...], uncond: Tensor | None, call: Call
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        if not self._plugins.joins("after_model", self._own):
            return conds, uncond
        said = self._plugins.change(
            "after_model", Estimates(conds, uncond), self._own, _fit_estimates, step=_step(call)
        )
        return said.conds, said.uncond

    def after_guidance(self, denoised: Tensor, call: Call) -> Tensor:
        if not self._plugins.joins("after_guidance", self._own):
            return denoised
        step = _step(call)
        return self._plugins.change("after_guidance", denoised, self._own, _fits, step=step)

    def after_pass(self, latents: Tensor, stage: str) -> Tensor:
        return self._plugins.change("after_pass", latents, self._own, _fits, stage=stage)

    def after_decode(self, images: list[Image.Image]) -> list[Image.Image]:
        decoded = self._plugins.change("after_decode", images, self._own, _as_many)
        return [image.convert("RGB") for image in decoded]

    def picture_finished(self, image: Image.Image, index: int, seed: int) -> Image.Image:
        self.context.index, self.context.seed = index, seed
        try:
            return self._plugins.change(
                "picture_finished", image, self._own, _is_picture, index=index, seed=seed
            ).convert("RGB")
        except (JobCancelled, Interrupted):  # what there is shall be seen
            return image

    def extras_picture(self, image: Image.Image) -> Image.Image:
        """A step of the Extras tab."""
        return self._plugins.change("extras_picture", image, self._own, _is_picture)

    def infotext(self, index: int) -> dict[str, Any]:
        """What extensions add to a picture's recipe."""
        return self._plugins.change(
            "infotext_written", dict(self._declared), self._own, index=index
        )

    def run(self, params: ExtensionJob) -> dict[str, Any]:
        """Run an extension's own job.

        Raises:
            ExtensionError: It cannot be run, or it failed.
        """
        owner = params.extension
        mine = {owner: self._own[owner]} if owner in self._own else {}
        failed_before = len(self._all.fence.troubles(owner))
        answers = self._plugins.list("run_job", mine, kind=params.task)
        troubles = self._all.fence.troubles(owner)
        if answers and isinstance(answers[0][1], Mapping):
            return dict(answers[0][1])
        if len(troubles) > failed_before:
            last = troubles[-1]
            raise ExtensionError(
                f"The extension {owner} failed at {params.task!r}: {last.message}",
                f"The log has more under {last.id}.", plugin=owner, hook="run_job",
            )  # fmt: skip
        raise ExtensionError(
            f"The extension {owner} did nothing for {params.task!r}.",
            "Its model.py needs a run_job that answers with one dict.", plugin=owner,
            hook="run_job",
        )  # fmt: skip


def _step(call: Call) -> Step:
    return Step(call.number, call.total, float(call.sigma.max()))


def _fits(before: Any, answer: Any) -> str:
    if isinstance(answer, Tensor) and answer.shape == before.shape:
        return ""
    found = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
    return f"it answered with {found}; a tensor of {tuple(before.shape)} is needed"


def _fit_estimates(before: Estimates, answer: Any) -> str:
    if not isinstance(answer, Estimates) or len(answer.conds) != len(before.conds):
        return "it answered with other than Estimates of as many parts"
    pairs = [*zip(before.conds, answer.conds, strict=True), (before.uncond, answer.uncond)]
    if (before.uncond is None) != (answer.uncond is None):
        return "it added or left out the estimate of the negative prompt"
    return next((wrong for b, a in pairs if b is not None and (wrong := _fits(b, a))), "")


def _fits_pass(before: Pass, answer: Any) -> str:
    if not isinstance(answer, Pass):
        return f"it answered with {type(answer).__name__}; a Pass is needed"
    if (before.init_latents is None) != (answer.init_latents is None):
        return "it added or left out the latents the pass begins with"
    wrong = _fits(before.noise, answer.noise)
    if not wrong and before.init_latents is not None:
        wrong = _fits(before.init_latents, answer.init_latents)
    return wrong


def _is_picture(before: Image.Image, answer: Any) -> str:
    is_one = isinstance(answer, Image.Image)
    return "" if is_one else f"it answered with {type(answer).__name__}; a picture is needed"


def _as_many(before: list[Image.Image], answer: Any) -> str:
    if not isinstance(answer, list) or len(answer) != len(before):
        return f"it did not answer with a list of {len(before)} pictures"
    if not all(isinstance(one, Image.Image) for one in answer):
        return "it gave no pictures"
    is_same = all(one.size == other.size for one, other in zip(before, answer, strict=True))
    return "" if is_same else "it answered with pictures of another size"
