"""Runs jobs on the device of this process: loads what a job needs, paints, reports."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image

from webui import params as requests
from webui.checkpoints.basic_support import BasicModel, identify_any
from webui.checkpoints.families import CHOOSE_ANOTHER, FAMILIES
from webui.checkpoints.families.model import DiffusionModel
from webui.checkpoints.identify import identify_file
from webui.checkpoints.load import LoadedModel
from webui.checkpoints.load_controlnet import LoadedGuide
from webui.checkpoints.load_embedding import EmbeddingReader
from webui.checkpoints.load_preview import DecoderFiles
from webui.checkpoints.precision import choose_device, choose_dtypes, has_quick_half
from webui.describing.open import Describing
from webui.errors import CheckpointError, ExtensionError, UnknownArchitectureError
from webui.extensions.a1111.runner import A1111
from webui.model_process.describer import as_prompt, caption_pictures, interrogate, opened
from webui.model_process.device_speed import device_speed
from webui.model_process.extensions import Extensions, JobContext, JobExtensions
from webui.model_process.face_finder import faces_in
from webui.model_process.job_listener import JobListener
from webui.model_process.job_maps import JobMaps
from webui.model_process.job_progress import JobProgress
from webui.model_process.job_supplies import JobSupplies
from webui.model_process.loaded_models import TOO_LARGE, LoadedModels, ModelPlan, SmallRule
from webui.model_process.merger import FileToolRun
from webui.model_process.peak_memory import PeakMemory
from webui.model_process.plot_run import PlotRun
from webui.model_process.repainting import repaint
from webui.model_process.restorer import ExtrasRun, JobWeights, LastStep, Stepped, run_fetch
from webui.model_process.script_job import ScriptJob
from webui.model_process.script_models import InUse, ScriptModels
from webui.model_process.script_process import ScriptProcess, extras_step
from webui.model_process.train_run import TrainRun
from webui.model_process.video_restorer import VideoRun
from webui.params import ImageToImage, TextToImage
from webui.pipelines.basic import BasicRun, plain
from webui.pipelines.conditioning import PromptEncoder
from webui.pipelines.embeddings import EmbeddingFile, EmbeddingShelf, JobEmbeddings
from webui.pipelines.inpaint_recipe import mask_weight
from webui.pipelines.preview import PreviewMaker, preview_maker
from webui.pipelines.recipe import ModelFacts, extra_pairs
from webui.pipelines.runs import run_class
from webui.pipelines.takeover import continued_latents
from webui.progress import Asked
from webui.prompts.tokenizer import ClipTokenizer
from webui.restoration.networks import Shelf
from webui.wire import Sender

Message = dict[str, Any]
"""The supervisor's ``run`` message."""
SomePainting = TypeVar("SomePainting", bound=TextToImage | ImageToImage)


class Painter:
    """One device, its loaded models, and the jobs run on them.

    Args:
        settings: Plain values from the start-up flags (device, precision, memory).
        sender: Where messages about jobs go.
        asked: Interrupts and skips for the running job.
    """

    def __init__(self, settings: dict[str, Any], sender: Sender, asked: Asked) -> None:
        self._settings = settings
        self._sender = sender
        self._asked = asked
        self._device = choose_device(settings.get("device", ""), settings.get("device_id"))
        self._dtype, vae_dtype = choose_dtypes(
            self._device,
            no_half=settings.get("no_half", False),
            no_half_vae=settings.get("no_half_vae", False),
            bf16=settings.get("bf16", False),
        )
        may_halve = not settings.get("no_half", False)
        self._shelf = Shelf(self._device, has_half=may_halve and has_quick_half(self._device))
        self.models = LoadedModels(
            ModelPlan(
                self._device,
                self._dtype,
                vae_dtype,
                medvram=settings.get("medvram", False),
                medvram_sdxl=settings.get("medvram_sdxl", False),
                lowvram=settings.get("lowvram", False),
                device_bytes=settings.get("model_memory_bytes", 0),
                ram_bytes=settings.get("model_ram_bytes", 0),
            ),
            beside=self._shelf,
        )
        self.maps = JobMaps(self._shelf, self._device, self._sender, self._say_loading)
        if settings.get("threads"):
            torch.set_num_threads(settings["threads"])
        self._peak = PeakMemory(self._device)
        self._tokenizer = ClipTokenizer.load()
        self._embeddings = EmbeddingShelf(self._tokenizer, EmbeddingReader())
        self._told: set[str] = set()
        self._flops = 0.0
        self.extensions: Extensions | None = None
        self._scripts: ScriptProcess | None = None
        self._runs: tuple[tuple[type, Callable[..., dict[str, Any]]], ...] = (
            (requests.FetchWeights, self._fetch),
            (requests.FindFaces, self._find_faces),
            (requests.CaptionPictures, self._caption),
            (requests.Interrogate, self._interrogate),
            (requests.MakeMap, self.maps.make),
            (requests.TrainLora, self._train),
            (requests.FileTool, self._make_file),
            (requests.Extras, self._restore),
            (requests.RestoreVideo, self._restore_video),
            (requests.Plot, self._plot),
            (requests.ExtensionJob, self._run_extension),
            (requests.Painting, self._paint),
        )

    def facts(self) -> dict[str, Any]:
        """What the web side shows about this process."""
        name = str(self._device)
        if self._device.type == "cuda":
            name = torch.cuda.get_device_name(self._device)
        return {
            "device": str(self._device),
            "device_name": name,
            "dtype": str(self._dtype).removeprefix("torch."),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }

    def memory_bytes(self) -> int:
        """All the memory of the card; 0 where there is none."""
        if self._device.type != "cuda":
            return 0
        return torch.cuda.get_device_properties(self._device).total_memory

    def speed(self) -> dict[str, Any]:
        """What ``device_speed`` says, measured when first asked for."""
        if not self._flops:
            self._flops = device_speed(self._device, self._dtype)
        return {"flops": self._flops}

    def run(self, message: dict[str, Any]) -> dict[str, Any]:
        """Run one job to its end.

        Args:
            message: The supervisor's ``run`` message: params, files, preview wishes.
        Returns:
            Facts about the run for the job row.
        Raises:
            WebUIError: The job cannot be done; says why.
        """
        if message.get("embeddings") is not None:  # otherwise they are what they were
            self._embeddings.put(map(EmbeddingFile.from_message, message["embeddings"]))
        params = requests.from_json(message["params"])
        run = next(run for kind, run in self._runs if isinstance(params, kind))
        self._peak.begin()
        with self._extensions_of(params, message) as joined:
            result = run(params, message if joined is None else {**message, "joined": joined})
        return {**result, "peak_bytes": self._peak.bytes()}

    @contextmanager
    def _extensions_of(self, params: Any, message: Message) -> Iterator[JobExtensions | None]:
        """The extensions a job wants; nothing is done for it where it wants none."""
        if "extensions" not in message:
            yield None
            return
        if self.extensions is None:
            note = Path(self._settings["extensions_note"])
            self.extensions = Extensions(note, self._sender.send)
            self._scripts = ScriptProcess(self.extensions.fence, self.facts())
        job = message["job"]
        progress = JobProgress(job, "extension", self._sender, self._asked)
        context = JobContext(
            job, partial(self._warn, job), lambda: self._asked.should_stop, progress.step,
            message.get("inputs", {}),
        )  # fmt: skip
        with self.extensions.job(params, message, context) as joined:
            yield joined

    def _run_extension(self, params: requests.ExtensionJob, message: Message) -> dict[str, Any]:
        return message["joined"].run(params)

    def _fetch(self, params: requests.FetchWeights, message: Message) -> dict[str, Any]:
        return run_fetch(params, message, self._sender, self._asked)

    def _find_faces(self, params: requests.FindFaces, message: Message) -> dict[str, Any]:
        progress = JobProgress(message["job"], "finding faces", self._sender, self._asked)
        return faces_in(params, self.weights(message), progress)

    def _caption(self, params: requests.CaptionPictures, message: Message) -> dict[str, Any]:
        job = message["job"]
        progress = JobProgress(job, "describing", self._sender, self._asked)
        describer = self._describer(message)
        return caption_pictures(params, describer, progress, partial(self._warn, job))

    def _interrogate(self, params: requests.Interrogate, message: Message) -> dict[str, Any]:
        return interrogate(params, self._describer(message), message)

    def describe(self, message: Message, image: Image.Image) -> str:
        """See ``pipelines.supplies.Supplies``.

        Args:
            message: The job's ``run`` message; ``describer`` may tell of one.
        """
        if "describer" not in message:
            return ""
        usual = requests.Describing.model_fields
        thresholds = (usual[name].default for name in ("threshold", "character_threshold"))
        return as_prompt(self._describer(message).describe(image, *thresholds))

    def _describer(self, message: Message) -> Describing:
        facts = message["describer"]
        if facts["kind"] != "extension":
            return opened(message, self._shelf)
        offered = self.extensions.taggers.get(facts["name"]) if self.extensions else None
        if offered is None:
            raise ExtensionError(
                f"The tagger {facts['name']!r} comes from an extension that could not be loaded.",
                "Look at its errors, or choose another tagger.",
            )
        return offered

    def _warn(self, job: int, text: str) -> None:
        self._sender.send({"type": "warning", "job": job, "message": text})

    def _train(self, params: requests.TrainLora, message: Message) -> dict[str, Any]:
        self.unload()
        return TrainRun(params, message, self._sender, self._asked, self._device).run()

    def _make_file(self, params: requests.AnyFileTool, message: Message) -> dict[str, Any]:
        return FileToolRun(params, message, self._sender, self._asked, self._device).run()

    def _restore(self, params: requests.Extras, message: Message) -> dict[str, Any]:
        extras = ExtrasRun(params, message, self.weights(message), self._sender, self._asked)
        if (joined := message.get("joined")) is not None:
            extras.last_step = self._last_step(params, message, joined)
        return extras.run(message.get("have", ()))

    def _last_step(
        self, params: requests.Extras, message: Message, joined: JobExtensions
    ) -> LastStep:
        """What extensions make of a picture: ours, then steps of A1111 folders."""
        if A1111 not in message or self._scripts is None:
            return lambda image: [Stepped(joined.extras_picture(image))]
        told = message[A1111]
        host = self._scripts.host_for(told, "")
        theirs = extras_step(host, told, params)
        return lambda image: theirs(joined.extras_picture(image))

    def _restore_video(self, params: requests.RestoreVideo, message: Message) -> dict[str, Any]:
        video = VideoRun(params, message, self.weights(message), self._sender, self._asked)
        return video.run()

    def _plot(self, params: requests.Plot, message: Message) -> dict[str, Any]:
        return PlotRun(params, message, self._sender).run()

    def _paint(self, params: TextToImage | ImageToImage, message: Message) -> dict[str, Any]:
        if (basic := _basic_model(Path(message["checkpoint"]["path"]))) is not None:
            message = {**message, "basic": basic, "vae": None, "others": {}}
        others: dict[str, dict[str, Any]] = message.get("others", {})
        facts_of_others = self.begin_models(params, message, {params.checkpoint: message, **others})
        facts = facts_of_others.pop(params.checkpoint)
        if basic is not None:
            message, params = self._plain(message, params)
        supplies = JobSupplies(self, message, params.checkpoint)
        params = self._possible(params, supplies, message["job"])
        listener = JobListener(self, message, params, supplies, facts, facts_of_others)
        joined: JobExtensions | None = message.get("joined")
        added: dict[str, Any] = {}
        try:
            runs = BasicRun if basic is not None else run_class(params)
            run = runs(params, supplies, listener)
            if joined is not None:
                run.moments = joined
                if basic is None:
                    joined.context.repaint = partial(
                        repaint, params, supplies, listener, joined.context
                    )
                joined.begin()
            in_use = InUse(facts, facts_of_others)
            scripts = self._script_job(params, message, supplies, listener, in_use)
            if scripts is not None and basic is None:
                scripts.paint(message.get("have", ()))
                added = scripts.extra_params
            else:
                run.paint(message.get("have", ()))
        finally:
            if joined is not None:
                joined.end()
            supplies.networks.end()
        return {
            "sd_model_name": facts.name,
            "sd_model_hash": (facts.sha256 or "")[:10] or None,
            "sd_vae_name": facts.vae_name,
            "sd_vae_hash": (facts.vae_sha256 or "")[:10] or None,
            "extra_generation_params": {
                k: v
                for k, v in extra_pairs(params, facts_of_others, listener.networks(params)).items()
                if v is not None
            }
            | added,
            "face_restoration_model": params.restore_faces.model if params.restore_faces else None,
            "is_using_inpainting_conditioning": mask_weight(params, facts.purpose) is not None,
            "interrupted": self._asked.interrupted,
        }

    def _script_job(
        self,
        params: TextToImage | ImageToImage,
        message: Message,
        supplies: JobSupplies,
        listener: JobListener,
        in_use: InUse,
    ) -> ScriptJob | None:
        """The job as A1111 scripts drive it; None where no A1111 folder is wanted."""
        if A1111 not in message or self._scripts is None:
            return None
        return ScriptJob(
            self._scripts.host_for(message[A1111], params.checkpoint), params, message, supplies,
            listener.of, message.get("joined"), self._asked, partial(self._warn, message["job"]),
            ScriptModels(self, params, message, supplies, in_use),
        )  # fmt: skip

    def begin_models(
        self,
        params: TextToImage | ImageToImage,
        message: Mapping[str, Any],
        files: Mapping[str, Mapping[str, Any]],
    ) -> dict[str, ModelFacts]:
        """The models of a request will be asked for, and those before it are not needed any more.

        Args:
            message: The supervisor's ``run`` message. files: Of the request's checkpoints, by name,
                see ``loaded_models.Files``.
        Returns:
            What recipes tell of each.
        Raises:
            CheckpointError: They cannot paint on after each other.
        """
        small = SmallRule(params.fp8_storage, params.cache_fp16_weight)
        controlnets = [Path(facts["path"]) for facts in message.get("controlnets", {}).values()]
        limits = message.get("memory", {})
        self.models.begin(files.values(), limits, small, controlnets, no_half=params.no_half)
        if len(files) > 1:
            _check_others(params, files)
        return {name: self._facts_of(one) for name, one in files.items()}

    def _facts_of(self, files: Mapping[str, Any]) -> ModelFacts:
        return _model_facts(files, is_small=self.models.small_weights(files) is not None)

    def _plain(
        self, message: dict[str, Any], params: SomePainting
    ) -> tuple[dict[str, Any], SomePainting]:
        """A job for a model with basic support, without what does nothing there, which is told."""
        params, told = plain(params, self.model(message["job"], message))
        if told:
            self._warn(message["job"], told)
        if selected := params.extensions.get(A1111, {}).get("selected"):
            self._warn(
                message["job"],
                f"The script {selected} does nothing with a model that has basic support.",
            )
        without = {"loras": {}, "hypernetworks": {}, "embeddings": ()}
        return {**message, **without}, params

    def _possible(self, params: SomePainting, supplies: JobSupplies, job: int) -> SomePainting:
        """The request without the face restoration whose weights are not there, which is told
        before anything is painted: pictures without it are worth more than none."""
        wish = params.restore_faces
        try:
            if wish is not None:
                supplies.face_mender(wish)
        except CheckpointError as err:
            told = f"Faces were not restored: {err.message} {err.hint}".rstrip()
            self._warn(job, told)
            return params.model_copy(update={"restore_faces": None})
        return params

    def embeddings(self, message: dict[str, Any]) -> JobEmbeddings:
        """Textual inversions for one job."""

        return JobEmbeddings(self._embeddings, partial(self._warn, message["job"]))

    def weights(self, message: dict[str, Any]) -> JobWeights:
        """Upscalers and face restorers for one job, by name."""
        offered = self.extensions.upscalers if self.extensions else {}
        return JobWeights(message.get("weights", {}), self._shelf, message.get("tiling"), offered)

    def model(self, job: int, files: Mapping[str, Any]) -> Any:
        """A loaded model; says so to whoever waits for the job when it must be read first.

        Args:
            files: See ``loaded_models.Files``.
        """
        if not self.models.has(files):
            self._say_loading(job)
        model = self.models.get(files)
        if model.extras.pop(TOO_LARGE, False):
            self._warn(
                job,
                "The device cannot hold the whole checkpoint at once, so its networks take turns "
                "there: the pictures are the same, painting takes longer.",
            )
        return model

    def _say_loading(self, job: int) -> None:
        self._sender.send(
            {"type": "progress", "job": job, "step": 0, "steps": 0, "stage": "loading"}
        )

    def controlnet(self, job: int, path: Path, base: Path, *, waits: bool) -> LoadedGuide:
        """A loaded ControlNet; says so to whoever waits for the job when it must be read first."""
        if not self.models.has_controlnet(path, base):
            self._say_loading(job)
        return self.models.controlnet(path, base, waits=waits)

    def encoder(self, model: LoadedModel) -> PromptEncoder:
        """The model's encoder with its remembered prompts; lives and goes with the model."""
        if "prompt_encoder" not in model.extras:
            model.extras["prompt_encoder"] = PromptEncoder(model, self._tokenizer)
        return model.extras["prompt_encoder"]

    def preview_maker(
        self, model: LoadedModel, wishes: dict[str, Any], warn: Callable[[str], None]
    ) -> PreviewMaker:
        """What draws previews of a model as wished; why it is another way is told once."""

        def tell(text: str) -> None:
            if text not in self._told:
                self._told.add(text)
                warn(text)

        files = DecoderFiles(tuple(map(Path, wishes.get("decoders", ()))))
        return preview_maker(model, wishes.get("method", ""), files, tell)

    @property
    def sender(self) -> Sender:
        return self._sender

    @property
    def asked(self) -> Asked:
        return self._asked

    def load(self, message: dict[str, Any]) -> None:
        """Load a checkpoint before a job asks for it.

        Args:
            message: ``checkpoint``, ``vae`` and ``memory`` as a job has them; ``fp8_storage`` and
                ``cache_fp16_weight``.
        Raises:
            CheckpointError, DeviceMemoryError: It cannot be loaded.
        """
        small = SmallRule(message["fp8_storage"], message["cache_fp16_weight"])
        basic = _basic_model(Path(message["checkpoint"]["path"]))
        files = message if basic is None else {**message, "basic": basic}
        self.models.begin([files], message["memory"], small)
        self.models.get(files)

    def unload(self) -> None:
        """Let go of every model and give the memory back."""
        self.models.unload_all()
        self._shelf.clear()
        self.after_job()

    def after_job(self) -> None:
        """Give cached device memory back after a job, a failed one above all."""
        if self._device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()

    def memory(self) -> dict[str, Any]:
        """Device memory in the shape of A1111's ``/memory`` route, ``cuda`` part."""
        if self._device.type != "cuda":
            return {"cuda": {"error": "unavailable"}}
        free, total = torch.cuda.mem_get_info(self._device)
        stats = torch.cuda.memory_stats(self._device)

        def pair(name: str) -> dict[str, int]:
            return {
                "current": stats.get(f"{name}_bytes.all.current", 0),
                "peak": stats.get(f"{name}_bytes.all.peak", 0),
            }

        return {
            "cuda": {
                "system": {"free": free, "used": total - free, "total": total},
                "active": pair("active"),
                "allocated": pair("allocated"),
                "reserved": pair("reserved"),
                "inactive": pair("inactive_split"),
                "events": {
                    "retries": stats.get("num_alloc_retries", 0),
                    "oom": stats.get("num_ooms", 0),
                },
            }
        }


def _check_others(
    params: TextToImage | ImageToImage, files: Mapping[str, Mapping[str, Any]]
) -> None:
    """Refuse checkpoints that cannot paint on, before the first has painted.

    Raises:
        CheckpointError: One cannot be read, or works on other latents than it would be given.
    """
    families = {name: _family_to_paint_on(one) for name, one in files.items()}
    for before, after in continued_latents(params):
        one, other = families[before], families[after]
        if one.latents != other.latents:
            raise UnknownArchitectureError(
                f"The picture could not be painted on with {Path(after).stem}: it is of the family "
                f"{other.title}, which cannot go on with the latents of {one.title}.",
                f"Choose a checkpoint of {one.title}; in hires fix, an upscaler that enlarges "
                "pictures instead of latents helps, too.",
                closest=[f"an {other.title} checkpoint"],
            )


def _family_to_paint_on(files: Mapping[str, Any]) -> DiffusionModel:
    why = f"The picture could not be painted on with {files['checkpoint']['stem']}"
    try:
        found = identify_any(Path(files["checkpoint"]["path"]))
    except CheckpointError as err:
        raise type(err)(f"{why}: {err.message}", err.hint, **err.details) from err
    if isinstance(found, BasicModel):
        raise UnknownArchitectureError(
            f"{why}: it is {found.title}, which paints whole pictures alone.",
            CHOOSE_ANOTHER,
            closest=[found.title],
        )
    return FAMILIES[found.family]


def _model_facts(message: Mapping[str, Any], *, is_small: bool) -> ModelFacts:
    checkpoint, vae = message["checkpoint"], message.get("vae")
    return ModelFacts(
        name=checkpoint["stem"],
        sha256=checkpoint.get("sha256"),
        vae_name=Path(vae["path"]).name if vae else None,
        vae_sha256=vae.get("sha256") if vae else None,
        purpose=_purpose(Path(checkpoint["path"])),
        has_own_sampler="basic" in message,
        has_small_weights=is_small,
    )


def _basic_model(path: Path) -> BasicModel | None:
    """The model of a checkpoint that a pipeline of diffusers paints; None for other ones, damaged
    ones too: they are told about when they are loaded.

    Raises:
        CheckpointError: It has basic support, but is unsafe or incomplete.
    """
    found = identify_any(path)
    return found if isinstance(found, BasicModel) else None


def _purpose(path: Path) -> str:
    """What a checkpoint is for, by its header; damaged ones are told about when they are loaded."""
    try:
        return identify_file(path).purpose
    except CheckpointError:
        return "paint"
