"""The web process's one owner of live parts: queue, library, catalog, options, drafts.

Both doors (api/ and ui/) are handed a Studio and ask it; neither knows the other, and neither
touches a worker, a database or a file of weights.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from webui.access import Access
from webui.checkpoints.basic_support import native_size
from webui.checkpoints.catalog import Catalog, Record
from webui.checkpoints.other_programs import roots_of_all
from webui.errors import (
    CheckpointNotFoundError,
    DeviceMemoryError,
    JobError,
    JobNotFoundError,
    WebUIError,
)
from webui.extensions.a1111.host import Places
from webui.jobs.data_lock import lock_data_folder
from webui.jobs.live import LiveJob, LiveJobs
from webui.jobs.store import Job, JobStore
from webui.jobs.supervisor import Supervisor
from webui.library.faces import FoundFaces
from webui.library.inputs import Inputs
from webui.library.library import Library, SavedPicture
from webui.library.videos import Videos
from webui.options import Options
from webui.params import (
    AnyParams,
    Extras,
    FetchWeights,
    FileTool,
    Painting,
    TextToImage,
    TrainLora,
    from_json,
)
from webui.prompts.chinese.dictionary import Dictionary
from webui.prompts.chinese.translate import Translated, has_chinese, translate
from webui.prompts.styles import StyleFiles
from webui.roles import is_guest
from webui.services.control_maps import MadeMaps, map_network_message
from webui.services.controlnets import ControlNets
from webui.services.costs.estimates import Estimates
from webui.services.downloads import Downloads
from webui.services.embedding_list import EmbeddingList
from webui.services.extensions.known import Refreshed
from webui.services.extensions.room import ExtensionRoom
from webui.services.extensions.scripts import ScriptRoom, script_names, script_words
from webui.services.extensions.store import Store
from webui.services.extensions.watch import WorkerWatch
from webui.services.forever import Forever
from webui.services.forms.completion import Completion, tag_folders
from webui.services.forms.drafts import Drafts
from webui.services.forms.history import FormHistory
from webui.services.forms.presets import Presets
from webui.services.forms.settings_changes import SettingsChanges
from webui.services.forms.tag_index import TagIndex
from webui.services.gallery.made_with import MadeWith
from webui.services.gallery.replay import Replays
from webui.services.gallery.room import GalleryRoom
from webui.services.guests import Guests
from webui.services.job_control import JobControl
from webui.services.job_files import JobFiles
from webui.services.job_results import JobResults
from webui.services.main_database import make_ready
from webui.services.model_cards import ModelCards
from webui.services.named_weights import NamedWeights
from webui.services.plots.names import Names
from webui.services.plots.plans import Plans
from webui.services.plots.plots import Plots
from webui.services.prompt_tokens import PromptTokens
from webui.services.reading_ahead import ReadingAhead
from webui.services.resolve import AnyRequest, Known, PaintingRequest, resolve
from webui.services.tidying import Tidying
from webui.settings import PROJECT_DIR, Settings

logger = logging.getLogger(__name__)
LOAD_SECONDS = 600.0
"""The longest that loading a checkpoint is waited for."""
BUILT_IN_EXTENSIONS = Path(__file__).parent / "built_in_extensions"
FINAL_STATES = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class JobView:
    """A job as a door shows it: its row, what it is doing now, and its pictures so far."""

    job: Job
    live: LiveJob | None
    position: int
    pictures: tuple[SavedPicture, ...]

    @property
    def is_finished(self) -> bool:
        return self.job.state in FINAL_STATES


class Studio:
    """Everything the web process owns, joined.

    Args:
        settings: From the start-up flags.
        worker_command: Program and arguments of the model process; None = ours.
    Attributes:
        database: Which file the jobs are in, and what became of the one before, if anything.
    Raises:
        SettingsError: The data folder cannot be used, or another server uses it.
    """

    def __init__(self, settings: Settings, *, worker_command: Sequence[str] | None = None) -> None:
        self.started_at = time.time()
        self._held = ExitStack()
        self._held.enter_context(lock_data_folder(settings.folders.database.parent))
        self.database = make_ready(settings.folders)
        self.settings = replace(settings, folders=self.database.folders)
        self.options = Options(self.settings.folders.data / "config.json")
        self.live = LiveJobs()
        self.worker_facts: dict[str, Any] = {}
        self._finished = threading.Condition()
        self._closing = threading.Event()
        self._open_files()
        self._open_words()
        self._open_page()
        self._open_extensions()
        self._open_gallery()
        self._open_work(worker_command or [sys.executable, "-m", "webui.worker"])

    def _open_files(self) -> None:
        """Jobs, pictures and models: what lies in databases and folders."""
        settings, folders = self.settings, self.settings.folders
        self.jobs = JobStore(folders.database)
        self.library = Library(
            folders.data,
            folders.database,
            save_folder=folders.data / self.options["outdir_save"],
            has_history=settings.prompt_history,
        )
        self.inputs = Inputs(folders.database.parent / "inputs")
        self.faces = FoundFaces(folders.database.parent / "faces", self.inputs)
        self.videos = Videos(folders.database, self.library, folders.data / "cache" / "videos")
        self.catalog = Catalog(folders, folders.database, self._elsewhere()[0])
        self.guests = Guests(self.options, self.jobs.waiting_of, folders)
        self.cards = ModelCards(self.catalog, folders.data / "cache" / "cards")
        self.controlnets = ControlNets(self.catalog)
        self.control_maps = MadeMaps()
        self.downloads = Downloads(
            folders, public_only=not settings.is_private, on_come=self.catalog.refresh
        )

    def _open_words(self) -> None:
        """What a prompt may hold, and how it becomes tokens."""
        folders = self.settings.folders
        self.styles = StyleFiles.from_settings(
            folders.data, self.settings.styles_files, folders.programs
        )
        self.completion = Completion(TagIndex(tag_folders(folders.data, folders.programs)))
        self.chinese = Dictionary(folders.data / "chinese")
        self.tokens = PromptTokens(
            self.options,
            lambda text, which: self.extensions.drawn_once(text, which),  # opened later
            lambda *told: self.extensions.counted_text(*told),
            self.catalog,
            self.current_checkpoint,
        )
        self._embedding_list = EmbeddingList()

    def _open_page(self) -> None:
        """What browsers keep and may do."""
        settings, folders = self.settings, self.settings.folders
        self.presets = Presets(folders.data / "presets.json")
        self.form_history = FormHistory()
        self.settings_changes = SettingsChanges(
            self.options, folders.data, self.catalog.find_vae,
            is_frozen=bool(settings.flags.get("freeze_settings")),
        )  # fmt: skip
        self.drafts = Drafts(folders.database)
        self.access = Access(settings)

    def _open_extensions(self) -> None:
        """Extensions of both kinds, and what installs them."""
        settings, folders = self.settings, self.settings.folders
        self.extensions = ExtensionRoom(
            built_in=BUILT_IN_EXTENSIONS,
            folders=(PROJECT_DIR / "extensions", folders.data / "extensions"),
            options=self.options,
            notes=folders.database.parent,
            models=folders.models,
            data=folders.data,
            programs=folders.programs,
            switched_off=_extensions_off(settings),
        )
        self.extension_store = Store(
            self.extensions, folders.data / "extensions", self.downloads.network,
            is_allowed=settings.may_install_extensions, public_only=not settings.is_private,
            refresh=self.refresh_extensions,
        )  # fmt: skip
        self.weights = NamedWeights(self.catalog, self.extensions.offered)
        self.extensions.scripts = self._scripts()
        self.extensions.refresh_scripts()

    def _open_gallery(self) -> None:
        """Every picture, and what it would take to paint it again."""
        self.made_with = MadeWith(self.catalog, self.weights, self.extensions.contents)
        replays = Replays(self.library, self.made_with, lambda: self.worker_facts)
        self.gallery = GalleryRoom(
            self.settings, self.options, self.jobs, self.library, self.inputs, replays,
            self.guests.told,
        )  # fmt: skip
        if self.database.is_new:
            self.gallery.give_back()

    def _open_work(self, worker_command: Sequence[str]) -> None:
        """The model process, and all that prepares its jobs and takes what it makes."""
        settings, folders = self.settings, self.settings.folders
        self.job_files = JobFiles(
            settings, self.options, self.catalog, self.weights, self.jobs, self.live, self.library,
            self.inputs, self.videos, self.tokens.embeddings, self._embedding_list, self.extensions,
        )  # fmt: skip
        self._results = JobResults(
            self.jobs, self.library, self.videos, self.options, folders.data, self.extensions,
            self.made_with,
        )  # fmt: skip
        self._ahead = ReadingAhead(self.job_files.of_next)
        self.estimates = Estimates(self.jobs, self._family_of)
        self.supervisor = Supervisor(
            self.jobs,
            worker_command,
            env={"DANQING_WORKER": json.dumps(self._worker_settings())},
            prepare=self.job_files.for_job,
            on_event=self._on_event,
            log_path=folders.logs / "worker.log",
            idle_seconds=self._idle_seconds,
            cwd=PROJECT_DIR,
            blame=self.extensions.blame,
        )
        self.extension_watch = WorkerWatch(
            self.extensions.worker_note, self.extensions.blame, self.supervisor.fail,
            lambda: self.supervisor.running_job_id,
        )  # fmt: skip
        self.extensions.on_use = self.extension_watch.begin
        names = Names(self.catalog, self.weights, self.styles)
        self.plots = Plots(
            self.jobs, Plans(self.extensions, names), self.resolve, self.supervisor.wake,
            self.guests.check,
        )  # fmt: skip
        self.control = JobControl(
            self.jobs, self.live, self.supervisor, self.drafts, self.plots, self.resolve,
            self.submit, self._announce,
        )  # fmt: skip
        self.tidying = Tidying(
            folders, self.options, self.jobs, self.drafts, self.inputs, self.faces, self.library,
            self.videos, self.gallery, self._closing,
        )  # fmt: skip
        self._forever = Forever(
            self.jobs, self.options, folders.data, self.gallery.is_starred, self.resolve,
            self.supervisor.wake,
        )  # fmt: skip

    def _scripts(self) -> ScriptRoom:
        """The A1111 folders among the extensions."""
        folders = self.settings.folders
        return ScriptRoom(
            self.extensions,
            self.options,
            Places(PROJECT_DIR, folders.data, folders.own_models, folders.data / "extensions"),
            script_names(self.catalog, self.weights, self.styles.by_name),
            self.settings.flags,
            script_words(),
            {"count_tokens": self.tokens.count},
        )

    def refresh_extensions(self) -> Refreshed:
        """Look for extensions that came, changed or went; the worker is started anew, once no job
        runs, when it has loaded one that changed."""
        found = self.extensions.refresh(tries_again=True)
        if found.restarts_worker:
            self.supervisor.renew()
        return found

    # Life

    def start(self) -> None:
        """Take up work: jobs left over from last time, then the worker."""
        self.jobs.recover_at_start()
        for job in self.jobs.broken_chains():
            self._forever.go_on(job.id)
        self.supervisor.start()
        threading.Thread(target=self._hash_chosen, name="hash", daemon=True).start()
        self.tidying.start()
        self.gallery.watch.start()
        self._ahead.start()

    def stop(self) -> None:
        """End the worker and close the databases. A running job goes back to the queue."""
        self.announce_closing()
        self.supervisor.stop(grace_seconds=5)
        self.extension_watch.stop()
        self.extension_store.close()
        self.extensions.close()
        if self.extensions.scripts is not None:
            self.extensions.scripts.close()
        self._ahead.stop()
        self.tidying.stop()
        with self._finished:
            self._finished.notify_all()
        self.downloads.close()
        self.catalog.close()
        self.gallery.close()
        self.library.close()
        self.videos.close()
        self.drafts.close()
        self.jobs.close()
        self._held.close()

    def announce_closing(self) -> None:
        """Let everybody who waits know that nothing will come. Safe in a signal handler: it only
        sets a flag, which waiting threads look at within a second."""
        self._closing.set()

    @property
    def is_closing(self) -> bool:
        """True once ``stop`` was called: nothing that is waited for will come."""
        return self._closing.is_set()

    def _worker_settings(self) -> dict[str, Any]:
        precision = self.settings.precision
        return {
            "device": self.settings.device,
            "device_id": self.settings.device_id,
            "threads": self.settings.threads,
            "no_half": precision.no_half,
            "no_half_vae": precision.no_half_vae,
            "bf16": precision.bf16,
            "lowvram": precision.lowvram,
            "medvram": precision.medvram,
            "medvram_sdxl": precision.medvram_sdxl,
            "model_memory_bytes": precision.model_memory_bytes,
            "model_ram_bytes": precision.model_ram_bytes,
            "extensions_note": str(self.extensions.worker_note),
        }

    def _idle_seconds(self) -> float:
        minutes = self.settings.worker_idle_minutes or self.options["worker_idle_minutes"] or 0
        return float(minutes) * 60

    # Asking for pictures

    def resolve(
        self, request: AnyRequest, warn: Callable[[str], None] = logger.warning
    ) -> AnyParams:
        """Answer everything a request leaves open, by the present options, styles and extensions.

        Args:
            warn: Told of what is not there and stays in a prompt as it was typed.

        Raises:
            ParamsError: A value out of range, or an extension that draws prompts refuses one.
            CheckpointNotFoundError: No checkpoint of that name, or none at all; or the network of
                a preprocessor is not there.
            KeyError: An override names no option.
        """
        self.guests.check_request(request)
        options = self.options.with_overrides(dict(request.overrides))
        acting = self.extensions.acting(request.kind, request.extensions, warn)
        params = resolve(
            request,
            options,
            Known(
                find_checkpoint=lambda alias: self.checkpoint(alias).name,
                styles=self.styles.by_name(),
                find_controlnet=lambda name: self.controlnets.find(name).name,
                extensions=acting,
                rewrite=partial(self.extensions.rewrite, acting),
                draw=self.extensions.drawing(acting, warn),
                translate=self.translate if options["translate_chinese_prompts"] else Translated,
            ),
        )
        params = self.extensions.resolved(params)
        if isinstance(params, Painting):  # refused now, not when its turn comes
            map_network_message(params.control, self.settings.folders)
        self.guests.check_one(request.user, params)
        return params

    def translate(self, text: str) -> Translated:
        """The English of a prompt; one without Chinese as it is."""
        return translate(text, self.chinese.words()) if has_chinese(text) else Translated(text)

    def submit(
        self,
        request: AnyRequest | AnyParams,
        *,
        origin: str = "page",
        client: str = "",
        priority: int = 0,
        task_id: str | None = None,
        forever: bool = False,
    ) -> Job:
        """Put a request into the queue.

        Args:
            request: A wish (resolved here) or complete params.
            origin: Which door asked: page or api.
            client: Whose browser asked; empty for the API.
            forever: When it is done, ask for the same again with new seeds, until cancelled; not
                for guests.
        Raises:
            WebUIError: As ``resolve``.
        """
        wish = request if isinstance(request, PaintingRequest) else None
        told: list[str] = []
        is_wish = isinstance(request, PaintingRequest)
        params = self.resolve(request, told.append) if is_wish else request
        if isinstance(params, TrainLora):
            params = params.with_seed()
        if isinstance(params, Extras):
            acting = self.extensions.acting("extras", params.extensions, told.append)
            params = params.model_copy(update={"extensions": acting})
        self.guests.check(params.user, [params])
        is_repeated = forever and not is_guest(params.user)
        job = self.jobs.submit(
            params.kind,
            params.to_json(),
            task_id=task_id,
            priority=priority,
            origin=origin,
            user=params.user,
            client=client,
            repeat_json=wish.model_dump_json() if is_repeated and wish else None,
        )
        for text in told:
            self.jobs.add_warning(job.id, text)
        self.supervisor.wake()
        self._ahead.look()
        return job

    def wait(self, job_id: int, timeout_seconds: float | None = None) -> Job:
        """Block until a job has ended and all its pictures are written.

        Returns:
            The job; not yet ended if the time ran out or the studio is closing.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with self._finished:
            while True:
                job = self.jobs.get(job_id)
                if job.state in FINAL_STATES and self.live.get(job_id) is None:
                    return job
                rest = None if deadline is None else deadline - time.monotonic()
                if (rest is not None and rest <= 0) or self.is_closing:
                    return job
                self._finished.wait(1.0 if rest is None else min(rest, 1.0))

    # Looking

    def view(self, job_id: int) -> JobView:
        """A job with its live state and pictures.

        Raises:
            JobNotFoundError: No job has that id.
        """
        job = self.jobs.get(job_id)
        return JobView(
            job=job,
            live=self.live.get(job_id),
            position=self.jobs.position(job_id) or 0,
            pictures=tuple(self.library.images_of(job_id)),
        )

    def queue(self) -> list[JobView]:
        """Running and waiting jobs, in the order in which they will be painted."""
        views = []
        unfinished = self.jobs.list(states=("queued",), limit=500, has_parts=False)
        for job in (*self.jobs.list(states=("running",)), *unfinished):
            try:
                views.append(self.view(job.id))
            except JobNotFoundError:
                continue
        return sorted(views, key=lambda v: (v.job.state != "running", v.position))

    def params_of(self, job: Job) -> AnyParams:
        """The request of a job row."""
        return from_json(job.params_json)

    # Checkpoints

    def checkpoint(self, alias: str | None = None) -> Record:
        """The checkpoint of that name, or the one to use when none is named.

        Raises:
            CheckpointNotFoundError: No such checkpoint, or none at all.
        """
        if alias:
            return self.catalog.find_checkpoint(alias)
        usable = [r for r in self.catalog.checkpoints() if not r.problem]
        preferred = self.settings.preferred_checkpoint
        if preferred:
            try:
                return self.catalog.find_checkpoint(Path(preferred).name)
            except CheckpointNotFoundError as err:
                logger.warning("--ckpt %s: %s", preferred, err)
        if not usable:
            raise CheckpointNotFoundError(
                "There is no checkpoint to paint with.",
                f"Put a .safetensors file into {self.settings.folders.models[0]}"
                "/Stable-diffusion and press 🔄.",
            )
        return usable[0]

    def current_checkpoint(self) -> Record | None:
        """What the options choose, if it is there; else the first usable one; else None."""
        for alias in (self.options["sd_model_checkpoint"], None):
            try:
                return self.checkpoint(alias)
            except CheckpointNotFoundError:
                continue
        return None

    def choose_checkpoint(self, alias: str) -> Record:
        """Make a checkpoint the chosen one, in memory and in config.json.

        Raises:
            CheckpointNotFoundError: No such checkpoint.
        """
        record = self.catalog.find_checkpoint(alias)
        self.options.set("sd_model_checkpoint", record.title)
        self.options.save()
        threading.Thread(target=self._hash_chosen, name="hash", daemon=True).start()
        return record

    def load_chosen(self) -> None:
        """Load the chosen checkpoint now instead of with the next job. A job that runs, or a
        model process that is not there, will load what it needs by itself.

        Raises:
            CheckpointNotFoundError: There is no checkpoint at all.
            JobError: It cannot be loaded.
        """
        record = self.current_checkpoint() or self.checkpoint()
        if self.supervisor.worker_pid is None or self.supervisor.running_job_id is not None:
            return
        reply = self.supervisor.request(self.job_files.for_loading(record), LOAD_SECONDS)
        if "error" in reply:
            raise JobError(f"{record.name} was not loaded: {reply['error']}")

    def _family_of(self, checkpoint: str) -> str:
        try:
            return self.catalog.find_checkpoint(checkpoint).family
        except CheckpointNotFoundError:
            return ""

    def native_size(self, record: Record | None) -> int:
        """Side in pixels of the square pictures a checkpoint was trained on.

        What the file says of itself wins over what its family usually is; 512 when unknown.
        """
        if record is None:
            return 512
        metadata = self.catalog.metadata(record)
        try:
            stated = json.loads(metadata.get("starter_config", "{}")).get("resolution")
        except (ValueError, AttributeError, RecursionError):
            stated = None
        stated = stated or metadata.get("modelspec.resolution", "").partition("x")[0]
        if not stated and (record.has_basic_support or record.path.is_dir()):
            stated = native_size(record.path)
        if str(stated).isdecimal() and 64 <= int(stated) <= 2048:
            return int(stated) // 8 * 8
        is_large = record.family.startswith("sdxl") or record.has_basic_support
        return 1024 if is_large else 512

    def refresh_models(self) -> list[str]:
        """Look through the model folders again.

        Returns:
            What is wrong with places where other programs keep models; usually nothing.
        """
        roots, problems = self._elsewhere()
        self.catalog.refresh(roots)
        return problems

    def _elsewhere(self) -> tuple[list[tuple[str, str]], list[str]]:
        """Folders of models outside ours, by flags and options, and what is wrong with places."""
        folders = self.settings.folders
        places = (*folders.programs, *self.options["model_folders_elsewhere"])
        roots, problems = roots_of_all(places)
        for problem in problems:
            logger.warning("%s", problem)
        return [*folders.others, *roots], [str(problem) for problem in problems]

    def _hash_chosen(self) -> None:
        record = self.current_checkpoint()
        if record is not None and not self.settings.no_hashing:
            try:
                self.catalog.hash_in_background(record)
            except (OSError, WebUIError):
                logger.warning("%s could not be hashed.", record.path, exc_info=True)

    # What the worker says

    def _on_event(self, event: dict[str, Any]) -> None:
        """Take one worker message; called in order, from one thread."""
        job_id = event.get("job", -1)
        kind = event["type"]
        if kind == "ready":
            self.worker_facts = event
            self._embedding_list.process_began()
            self.extensions.worker_began()
        elif kind == "extension":
            self.extensions.take(event["trouble"])
        elif kind == "started":
            self._embedding_list.job_began(job_id)
            self._ahead.look()
            self.live.begin(job_id, passes=self._passes(job_id))
        elif kind == "progress":
            facts = {
                k: event[k]
                for k in ("batch", "batches", "step", "steps", "stage", "training")
                if k in event
            }
            self.live.update(job_id, **facts)
        elif kind == "preview":
            self.live.preview(job_id, event["image"], event["format"])
        elif kind == "image":
            self._results.keep_picture(job_id, event)
            self.gallery.watch.wake()
        elif kind == "video":
            self._results.keep_video(job_id, event)
        elif kind == "control-map":
            self.control_maps.keep(job_id, event["unit"], event["image"])
        elif kind == "faces":
            self.faces.keep(job_id, event["index"], event["faces"])
        elif kind == "training-file":
            self.catalog.refresh()
        elif kind in ("done", "failed", "cancelled", "requeued", "paused"):
            if kind == "done":
                self._see_new_weights(job_id)  # before anyone can see that the job has ended
            self.live.end(job_id)
            if kind == "failed":
                self._free_memory(event["error"])
            if kind == "done":
                self._forever.go_on(job_id)
            if kind in FINAL_STATES and self.extensions.all():
                job = self.jobs.get(job_id)
                self.extensions.job_ended(self.params_of(job), job_id, job.state)
            self._announce()

    def _free_memory(self, error: dict[str, Any]) -> None:
        """What extensions keep cannot be taken from them: only a process begun anew is without it,
        and without it every job after this one would fail, too."""
        if error["code"] == DeviceMemoryError.code and self.extensions.has_strangers_at_work:
            self.supervisor.renew()

    def _see_new_weights(self, job_id: int) -> None:
        if isinstance(self.params_of(self.jobs.get(job_id)), FetchWeights | FileTool):
            self.catalog.refresh()

    def _passes(self, job_id: int) -> int:
        params = self.params_of(self.jobs.get(job_id))
        has_two = isinstance(params, TextToImage) and params.hires and not params.first_pass_image
        return 2 if has_two else 1

    def _announce(self) -> None:
        with self._finished:
            self._finished.notify_all()


def _extensions_off(settings: Settings) -> str:
    """Which extensions the start-up flags switch off, see ``ExtensionRoom``."""
    if settings.flags.get("disable_all_extensions"):
        return "all"
    return "extra" if settings.flags.get("disable_extra_extensions") else ""
