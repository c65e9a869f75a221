"""A painting job as A1111 scripts drive it: ``process_images``, and a script's own ``run``.

The host of the folders lives as long as the process; a job lends it hands for its own length.
"""

from __future__ import annotations

import importlib
import json
import weakref
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from torch import Tensor

from webui.errors import ExtensionError
from webui.extensions.a1111.host import Host
from webui.extensions.a1111.mapping import (
    CHECKPOINT,
    all_overrides,
    job_of,
    params_of,
    picture_key,
    texts_of,
    without_effect,
)
from webui.extensions.a1111.processing import Processed, one_each
from webui.extensions.a1111.runner import A1111, ScriptArguments, ScriptRunner
from webui.extensions.fence import PASSES
from webui.infotext import add_pairs
from webui.model_process.job_listener import JobListener
from webui.model_process.job_supplies import JobSupplies
from webui.model_process.script_models import ScriptModels
from webui.model_process.script_moments import ScriptMoments
from webui.model_process.script_process import job_steps
from webui.params import ImageToImage, Painting, TextToImage
from webui.pipelines.runs import run_class
from webui.pipelines.supplies import Picture
from webui.progress import Asked
from webui.samplers.names import resolve_sampler
from webui.samplers.steps import image_seeds

if TYPE_CHECKING:
    from webui.model_process.extensions import JobExtensions

RUN_SECONDS = 7 * 24 * 3600.0
"""How long a script's own ``run`` may take: it paints, and people can stop it."""
MakeListener = Callable[..., JobListener]
"""``JobListener.of``."""


@dataclass
class ScriptJob:
    """One job; what the host asks to paint while it lasts (``host.Painting``).

    Attributes:
        params: The job's request. message: The supervisor's ``run`` message.
        joined: Our own extensions of the job.
        asked: What the person asked.
        models: What it may paint with.
        checkpoint: Catalog name of the one in use, where a painting asks for no other.
    """

    host: Host
    params: TextToImage | ImageToImage
    message: Mapping[str, Any]
    supplies: JobSupplies
    make_listener: MakeListener
    joined: JobExtensions | None
    asked: Asked
    warn: Callable[[str], None]
    models: ScriptModels
    checkpoint: str = ""
    _told: set[str] = field(default_factory=set[str])
    _depth: int = 0
    _makers: dict[int, tuple[weakref.ref[Image.Image], JobListener]] = field(default_factory=dict)
    extra_params: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self.checkpoint = self.params.checkpoint
        self._steps = job_steps(self.host, self.message[A1111], self.params)

    def paint(self, have: Collection[int] = ()) -> None:
        """Do the job.

        Args:
            have: Numbers of pictures that exist already.
        Raises:
            WebUIError: It cannot be painted. Exception: The selected script's own.
        """
        params, host = self.params, self.host
        runner = host.runners[params.kind]
        p: Any = job_of(params, self.supplies.input)
        p.outpath_samples = p.outpath_grids = self.message[A1111]["output"]
        p.override_settings |= settings_in(params)
        said = arguments_in(params)
        p.scripts, p.script_args = runner, [self._argument(v) for v in runner.list_of(said)]
        host.painting = self
        host.state.follow(self.asked)
        host.state.begin(params.kind)
        try:
            runner.call("setup", p)
            p.scripts_setup_complete = True
            processed = self._selected(runner, said, p)
            if processed is None:
                self._process(p, runner, _Shown(self, have))
            else:
                self._hand_over_all(processed, p, have)
        finally:
            self.extra_params = {
                k: str(v) for k, v in p.extra_generation_params.items() if not callable(v)
            }
            self._end_networks(p)
            host.painting = None
            host.state.end()

    def _argument(self, value: Any) -> Any:
        """An argument as the script's field gave it: pictures are named by their keys."""
        if isinstance(value, list):
            return [self._argument(one) for one in value]
        if not isinstance(value, dict):
            return value
        if set(value) != {"picture", "is_array"}:
            return {name: self._argument(one) for name, one in value.items()}
        image = self.supplies.input(str(value["picture"]))
        return np.asarray(image) if value["is_array"] else image

    def _selected(self, runner: ScriptRunner, said: ScriptArguments, p: Any) -> Processed | None:
        """What the selected script made of the job; None when there is none."""
        if not said.selected:
            return None
        script = runner.find(said.selected, is_alwayson=False)
        failure: list[BaseException] = []

        def run() -> Any:
            try:
                return runner.run(p, *p.script_args)
            except PASSES:
                raise
            except (Exception, SystemExit) as err:  # told below, as what ended the job
                failure.append(err)
                return None

        core = self.host.fence.core
        processed = core.call(script.extension, "run", RUN_SECONDS, run)
        if failure:
            told = self.host.fence.report(script.extension, "run", failure[0])
            raise ExtensionError(
                f"The script «{script.title()}» of the extension {script.extension} failed: {told}",
                "The log has more; choose no script, or another one.",
                plugin=script.extension,
                hook="run",
            ) from failure[0]
        if processed is not None and not isinstance(processed, Processed):
            raise ExtensionError(
                f"The script «{script.title()}» of the extension {script.extension} answered with "
                f"{type(processed).__name__}; a Processed, or None, is needed.",
                "The log has more; choose no script, or another one.",
                plugin=script.extension,
                hook="run",
            )
        return processed

    def _end_networks(self, p: Any) -> None:
        importlib.import_module("modules.extra_networks").deactivate(p, p.extra_network_data or {})

    # host.Painting

    def process_images(self, p: Any) -> Processed:
        """See ``host.Painting``."""
        runner = p.scripts if isinstance(p.scripts, ScriptRunner) else ScriptRunner(self.host.fence)
        return self._process(p, runner, _Collected(self))

    def upscale(self, image: Image.Image, name: str, width: int, height: int) -> Image.Image:
        """See ``host.Painting``."""
        upscaler = self.supplies.upscaler(name)
        return upscaler.enlarge(image, width, height, should_stop=lambda: self.should_stop)

    def switch_checkpoint(self, text: str) -> None:
        """See ``host.Painting``."""
        self.checkpoint = self._checkpoint_meant(text)
        self.host.use_checkpoint(self.checkpoint)

    @property
    def should_stop(self) -> bool:
        return self.asked.should_stop or self.host.state.should_stop

    # Painting

    def _process(self, p: Any, runner: ScriptRunner, results: _Results) -> Processed:
        """Paint ``p`` with its scripts, in A1111's order."""
        self._depth += 1
        try:
            runner.call("before_process", p)
            with self.host.options.overridden(p.override_settings):
                processed = self._process_as_set(p, runner, results)
            if not p.override_settings_restore_afterwards:
                self._keep_overrides(p)
            return processed
        finally:
            self._depth -= 1

    def _process_as_set(self, p: Any, runner: ScriptRunner, results: _Results) -> Processed:
        """The same from where the settings of ``p`` hold."""
        self._use_models(p)
        self._work_out(p)
        runner.call("process", p)
        _make_even(p)
        self._tell_without_effect(p)
        is_top = self._depth == 1
        moments = ScriptMoments(self.host, p, runner, self.joined if is_top else None)
        moments.steps = self._steps if is_top else None
        overrides = all_overrides(p, self.host.options.changed_in_job)
        params = params_of(p, self.params, self._put, resolve_sampler, overrides)
        self._paint(p, self._with_checkpoints(params, p), moments, results)
        processed = results.processed(p)
        runner.call("postprocess", p, processed)
        results.added(processed)
        for text in p.comments:
            self._warn(text)
        return processed

    def _use_models(self, p: Any) -> None:
        """Scripts are told of the checkpoint that will paint, before it does."""
        name = self._checkpoint_of(p)
        self.host.use_checkpoint(name)
        found = importlib.import_module("modules.sd_models").select_checkpoint()
        p.sd_model_name = Path(name).stem
        p.sd_model_hash = found.shorthash if found is not None else None

    def _checkpoint_of(self, p: Any) -> str:
        """Catalog name of the checkpoint that paints ``p``."""
        wanted = p.override_settings.get(CHECKPOINT)
        return self._checkpoint_meant(str(wanted)) if wanted else self.checkpoint

    def _checkpoint_meant(self, text: str) -> str:
        """The catalog name of a checkpoint that a script calls by any of its names; the text where
        there is none, which ``ScriptModels`` tells."""
        found = importlib.import_module("modules.sd_models").get_closet_checkpoint_match(text)
        return text if found is None else found.name

    def _with_checkpoints(self, params: Painting, p: Any) -> Painting:
        """A request that names its checkpoints as the catalog does."""
        update: dict[str, Any] = {"checkpoint": self._checkpoint_of(p)}
        for stage in ("refiner", "hires"):
            wish = getattr(params, stage, None)
            if wish is not None and wish.checkpoint:
                meant = self._checkpoint_meant(wish.checkpoint)
                update[stage] = wish.model_copy(update={"checkpoint": meant})
        return params.model_copy(update=update)

    def _keep_overrides(self, p: Any) -> None:
        """A script wants its settings to hold for what is painted after ``p``, too."""
        self.checkpoint = self._checkpoint_of(p)
        kept = {key: value for key, value in p.override_settings.items() if key != CHECKPOINT}
        self.host.options.changed_in_job.update(kept)

    def _paint(self, p: Any, params: Painting, moments: ScriptMoments, results: _Results) -> None:
        assert isinstance(params, TextToImage | ImageToImage)
        results.listener = self.make_listener(params, moments, self.models.ready(params))
        results.moments = moments
        run = run_class(params)(params, self.supplies, results)
        run.moments, moments.run, results.run = moments, run, run
        count = params.image_count
        if len(p.all_seeds) == len(p.all_subseeds) == count:
            run.seeds, run.subseeds = list(map(int, p.all_seeds)), list(map(int, p.all_subseeds))
        self.host.state.job_count = max(self.host.state.job_count, params.batch_count)
        run.paint(results.have)

    def _work_out(self, p: Any) -> None:
        """Seeds and prompts of all pictures."""
        own = p.base if isinstance(p.base, Painting) else None
        p.setup_prompts()
        told: dict[str, Any] = getattr(p, "told", {})
        count = len(p.all_prompts)
        if own is not None and p.prompt == told["prompt"]:
            p.all_prompts = texts_of(own, count)[0]
        if own is not None and p.negative_prompt == told["negative_prompt"]:
            p.all_negative_prompts = texts_of(own, count)[1]
        p.main_prompt, p.main_negative_prompt = p.all_prompts[0], p.all_negative_prompts[0]
        processing = importlib.import_module("modules.processing")
        if isinstance(p.seed, list):
            p.all_seeds = [int(seed) for seed in p.seed]
            p.all_subseeds = [int(p.subseed) for _ in p.seed]
            return
        processing.fix_seed(p)
        p.all_seeds, p.all_subseeds = image_seeds(p.seed, p.subseed, p.subseed_strength, count)

    def _put(self, image: Image.Image) -> str:
        key = picture_key(image)
        is_ready = image.mode in ("RGB", "RGBA")
        self.supplies.pictures[key] = image if is_ready else image.convert("RGB")
        return key

    def _tell_without_effect(self, p: Any) -> None:
        theirs = self.host.options.data_labels
        for key in [key for key in without_effect(p) if key not in theirs]:
            self._warn(f"A script wanted to change the setting {key} for one job; it was left.")

    def _warn(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self.warn(text)

    def _hand_over_all(self, processed: Processed, p: Any, have: Collection[int]) -> None:
        """The pictures of a script's own ``run`` as those of the job."""
        listener = self.make_listener(self.params, None)
        for number, image in enumerate(processed.images):
            if number in have or not isinstance(image, Image.Image):
                continue
            place = max(0, number - processed.index_of_first_image)  # sheets stand before it
            seeds, subseeds = processed.all_seeds, processed.all_subseeds
            seed, subseed = (int(own[place % len(own)]) for own in (seeds, subseeds))
            picture = Picture(number, image.convert("RGB"), max(seed, 0), max(subseed, 0))
            text = processed.infotext(p, number) or listener.recipe(picture, self.params)
            self.maker_of(image, listener).hand_over(*saved_as_wished(self.host, picture, text, p))

    def painted_by(self, image: Image.Image, listener: JobListener) -> None:
        """Remember with which models a picture was painted, as long as a script has it."""
        self._makers[id(image)] = weakref.ref(image), listener

    def maker_of(self, image: Image.Image, usual: JobListener) -> JobListener:
        """Who hands a picture over with the facts of the models that painted it."""
        known, listener = self._makers.get(id(image), (lambda: None, usual))
        return listener if known() is image else usual


def _make_even(p: Any) -> None:
    """As many prompts and seeds as there will be pictures, whatever scripts have made of them."""
    count = p.batch_size * p.n_iter
    p.all_prompts = one_each(p.all_prompts, count)
    p.all_negative_prompts = one_each(p.all_negative_prompts, count)
    if len(p.all_seeds) < count or len(p.all_subseeds) < count:
        first, subseed = [*p.all_seeds, p.seed][0], [*p.all_subseeds, p.subseed][0]
        both = image_seeds(int(first), int(subseed), p.subseed_strength, count)
        p.all_seeds, p.all_subseeds = both


def arguments_in(params: Painting) -> ScriptArguments:
    """What a request says to scripts."""
    own = params.extensions.get(A1111, {})
    return ScriptArguments(str(own.get("selected") or ""), _table(own.get("arguments")))


def settings_in(params: Painting) -> dict[str, Any]:
    """Settings of A1111 folders that hold for a request alone, by A1111's keys."""
    return _table(params.extensions.get(A1111, {}).get("settings"))


def _table(text: Any) -> dict[str, Any]:
    try:
        found = json.loads(str(text or "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def saved_as_wished(host: Host, picture: Picture, text: str, p: Any) -> tuple[Picture, str]:
    """A picture and its recipe after ``on_before_image_saved``."""
    if not host.callbacks.has("before_image_saved"):
        return picture, text
    classes = importlib.import_module("modules.script_callbacks")
    name = str(Path(p.outpath_samples or "") / f"{picture.index:05}-{picture.seed}.png")
    wish = classes.ImageSaveParams(picture.image, p, name, {"parameters": text})
    host.callbacks.call("before_image_saved", wish)
    image = wish.image.convert("RGB") if isinstance(wish.image, Image.Image) else picture.image
    added = {k: v for k, v in wish.pnginfo.items() if k != "parameters"}
    told = str(wish.pnginfo.get("parameters") or text)
    if added:
        told = add_pairs(told, added.items())
    return Picture(picture.index, image, picture.seed, picture.subseed), told


class _Results:
    """Listens to a painting and keeps its pictures.

    Attributes:
        have: Numbers of pictures that need not be painted.
    """

    listener: JobListener
    moments: ScriptMoments
    run: Any

    def __init__(self, job: ScriptJob, have: Collection[int] = ()) -> None:
        self.job = job
        self.have = frozenset(have)
        self.pictures: list[Picture] = []
        self.texts: list[str] = []
        self._batch = -1

    def progress(self, batch: int, batches: int, step: int, steps: int, stage: str) -> None:
        state = self.job.host.state
        state.sampling_step, state.sampling_steps = step, steps
        self.listener.progress(batch, batches, step, steps, stage)

    def preview(self, latents: Tensor) -> None:
        self.job.host.state.current_latent = latents
        self.listener.preview(latents)

    def warn(self, message: str) -> None:
        self.listener.warn(message)

    def should_stop(self) -> bool:
        return self.job.should_stop

    def takes_next_batch(self) -> bool:
        """See ``Listener``; the batch's scripts are called here."""
        state, size = self.job.host.state, self.run.params.batch_size
        if self.job.asked.interrupted or state.interrupted or state.stopping_generation:
            return False
        state.skipped = False
        self._batch += 1
        while all(i in self.have for i in range(self._batch * size, (self._batch + 1) * size)):
            self._batch += 1
        self.moments.batch_begins(self._batch)
        return True

    def finished(self, picture: Picture) -> None:
        text = self.listener.recipe(picture, self.run.params)
        self.job.painted_by(picture.image, self.listener)
        self.pictures.append(picture)
        self.texts.append(text)
        self.job.host.state.job_no = self._batch + 1

    def processed(self, p: Any) -> Processed:
        """What became of the painting."""
        return Processed(
            p, [picture.image for picture in self.pictures], p.all_seeds[0],
            self.texts[0] if self.texts else "", subseed=p.all_subseeds[0],
            infotexts=self.texts,
        )  # fmt: skip

    def added(self, processed: Processed) -> None:
        """Scripts may have added pictures at the end."""


class _Collected(_Results):
    """Of a painting that a script asked for."""


class _Shown(_Results):
    """Of the job itself: pictures go to whoever waits for them as soon as they are done."""

    def finished(self, picture: Picture) -> None:
        super().finished(picture)
        p = self.moments.p
        self.listener.hand_over(*saved_as_wished(self.job.host, picture, self.texts[-1], p))

    def added(self, processed: Processed) -> None:
        """Pictures that scripts added come behind the job's own."""
        known = {id(picture.image) for picture in self.pictures}
        more = [(image, 0) for image in processed.images if id(image) not in known]
        number = self.run.params.image_count
        for image, beside in (*self.moments.more, *more):
            if not isinstance(image, Image.Image):
                continue
            of = self.pictures[min(beside, len(self.pictures) - 1)] if self.pictures else None
            seed, subseed = (of.seed, of.subseed) if of else (0, 0)
            picture = Picture(number, image.convert("RGB"), seed, subseed)
            self.listener.hand_over(picture, self.texts[0] if self.texts else "")
            number += 1
