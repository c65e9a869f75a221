"""Runs jobs on the device of this process: loads what a job needs, paints, reports."""

from __future__ import annotations

import gc
import io
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor

from webui import params as requests
from webui.checkpoints.basic_support import BasicModel, identify_any
from webui.checkpoints.families import FAMILIES
from webui.checkpoints.families.model import DiffusionModel
from webui.checkpoints.hypernetwork_file import read_hypernetwork
from webui.checkpoints.identify import identify_file
from webui.checkpoints.load import LoadedModel
from webui.checkpoints.load_embedding import EmbeddingReader
from webui.checkpoints.load_pipeline import LoadedPipeline
from webui.checkpoints.load_preview import DecoderFiles
from webui.checkpoints.precision import choose_device, choose_dtypes, has_quick_half
from webui.errors import CheckpointError, LibraryError, UnknownArchitectureError
from webui.face_finder import faces_in
from webui.job_progress import JobProgress
from webui.loaded_models import LoadedModels, ModelPlan, SmallRule
from webui.merger import FileToolRun
from webui.params import FaceRestoration, ImageToImage, TextToImage
from webui.pictures import encode, load_upright
from webui.pipelines.basic import BasicRun, plain
from webui.pipelines.basic_preview import glimpse
from webui.pipelines.conditioning import PromptEncoder
from webui.pipelines.decode import decode
from webui.pipelines.embeddings import EmbeddingFile, EmbeddingShelf, JobEmbeddings
from webui.pipelines.hypernetworks import JobHypernetworks
from webui.pipelines.inpaint_recipe import mask_weight
from webui.pipelines.loras import JobLoras
from webui.pipelines.networks import JobNetworks
from webui.pipelines.painting import Picture
from webui.pipelines.preview import PreviewMaker, preview_maker, side_by_side
from webui.pipelines.recipe import ModelFacts, extra_pairs, write_recipe
from webui.pipelines.runs import run_class
from webui.pipelines.takeover import continued_latents
from webui.pipelines.upscaling import PLAIN, Upscaler
from webui.progress import Asked
from webui.prompts.tokenizer import ClipTokenizer
from webui.restoration.networks import Shelf
from webui.restorer import ExtrasRun, JobWeights, PaintedFaces, run_fetch
from webui.train_run import TrainRun
from webui.video_restorer import VideoRun
from webui.wire import Sender

SomePainting = TypeVar("SomePainting", bound=TextToImage | ImageToImage)
PREVIEW_FORMATS = ("png", "jpeg", "webp")
PREVIEW_SECONDS = 0.25  # previews closer together than this are not seen
PREVIEW_PAUSE = 4.0  # times what the last preview took: they take a fifth of the time at most


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
        if settings.get("threads"):
            torch.set_num_threads(settings["threads"])
        self._tokenizer = ClipTokenizer.load()
        self._embeddings = EmbeddingShelf(self._tokenizer, EmbeddingReader())
        self._told: set[str] = set()

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
        if isinstance(params, requests.FetchWeights):
            return run_fetch(params, message, self._sender, self._asked)
        if isinstance(params, requests.FindFaces):
            progress = JobProgress(message["job"], "finding faces", self._sender, self._asked)
            return faces_in(params, self.weights(message), progress)
        if isinstance(params, requests.TrainLora):
            self.unload()
            return TrainRun(params, message, self._sender, self._asked, self._device).run()
        if isinstance(params, requests.AnyFileTool):
            return FileToolRun(params, message, self._sender, self._asked, self._device).run()
        if isinstance(params, requests.Extras):
            extras = ExtrasRun(params, message, self.weights(message), self._sender, self._asked)
            return extras.run(message.get("have", ()))
        if isinstance(params, requests.RestoreVideo):
            video = VideoRun(params, message, self.weights(message), self._sender, self._asked)
            return video.run()
        others: dict[str, dict[str, Any]] = message.get("others", {})
        small = SmallRule(params.fp8_storage, params.cache_fp16_weight)
        self.models.begin((message, *others.values()), message.get("memory", {}), small)
        if (basic := _basic_model(Path(message["checkpoint"]["path"]))) is not None:
            message, params = self._plain({**message, "basic": basic}, params)
            others = {}
        if others:
            _check_others(params, message, others)
        supplies = _JobSupplies(self, message, params.checkpoint)
        params = self._possible(params, supplies, message["job"])
        facts = self._facts_of(message)
        facts_of_others = {name: self._facts_of(files) for name, files in others.items()}
        listener = _JobListener(self, message, params, supplies, facts, facts_of_others)
        try:
            runs = BasicRun if basic is not None else run_class(params)
            runs(params, supplies, listener).paint(message.get("have", ()))
        finally:
            supplies.networks.end()
        return {
            "sd_model_name": facts.name,
            "sd_model_hash": (facts.sha256 or "")[:10] or None,
            "sd_vae_name": facts.vae_name,
            "sd_vae_hash": (facts.vae_sha256 or "")[:10] or None,
            "extra_generation_params": {
                k: v
                for k, v in extra_pairs(params, facts_of_others, listener.networks()).items()
                if v is not None
            },
            "face_restoration_model": params.restore_faces.model if params.restore_faces else None,
            "is_using_inpainting_conditioning": mask_weight(params, facts.purpose) is not None,
            "interrupted": self._asked.interrupted,
        }

    def _facts_of(self, files: dict[str, Any]) -> ModelFacts:
        return _model_facts(files, is_small=self.models.small_weights(files) is not None)

    def _plain(
        self, message: dict[str, Any], params: SomePainting
    ) -> tuple[dict[str, Any], SomePainting]:
        """A job for a model with basic support, without what does nothing there, which is told."""
        params, told = plain(params, self.model(message["job"], message))
        if told:
            self._sender.send({"type": "warning", "job": message["job"], "message": told})
        without = {"vae": None, "others": {}, "loras": {}, "hypernetworks": {}, "embeddings": ()}
        return {**message, **without}, params

    def _possible(self, params: SomePainting, supplies: _JobSupplies, job: int) -> SomePainting:
        """The request without the face restoration whose weights are not there, which is told
        before anything is painted: pictures without it are worth more than none."""
        wish = params.restore_faces
        try:
            if wish is not None:
                supplies.face_mender(wish)
        except CheckpointError as err:
            told = f"Faces were not restored: {err.message} {err.hint}".rstrip()
            self._sender.send({"type": "warning", "job": job, "message": told})
            return params.model_copy(update={"restore_faces": None})
        return params

    def embeddings(self, message: dict[str, Any]) -> JobEmbeddings:
        """Textual inversions for one job."""

        def warn(text: str) -> None:
            self._sender.send({"type": "warning", "job": message["job"], "message": text})

        return JobEmbeddings(self._embeddings, warn)

    def weights(self, message: dict[str, Any]) -> JobWeights:
        """Upscalers and face restorers for one job, by name."""
        return JobWeights(message.get("weights", {}), self._shelf, message.get("tiling"))

    def model(self, job: int, files: dict[str, Any]) -> Any:
        """A loaded model; says so to whoever waits for the job when it must be read first.

        Args:
            files: See ``loaded_models.Files``.
        """
        if not self.models.has(files):
            self._sender.send(
                {"type": "progress", "job": job, "step": 0, "steps": 0, "stage": "loading"}
            )
        return self.models.get(files)

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
    params: TextToImage | ImageToImage,
    message: dict[str, Any],
    others: dict[str, dict[str, Any]],
) -> None:
    """Refuse checkpoints that cannot paint on, before the first has painted.

    Raises:
        CheckpointError: One cannot be read, or works on other latents than it would be given.
    """
    families = {
        name: _family_to_paint_on(files)
        for name, files in {**others, params.checkpoint: message}.items()
    }
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


def _family_to_paint_on(files: dict[str, Any]) -> DiffusionModel:
    try:
        return FAMILIES[identify_file(Path(files["checkpoint"]["path"])).family]
    except CheckpointError as err:
        raise type(err)(
            f"The picture could not be painted on with {files['checkpoint']['stem']}: "
            f"{err.message}",
            err.hint,
            **err.details,
        ) from err


def _model_facts(message: dict[str, Any], *, is_small: bool) -> ModelFacts:
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


class _JobSupplies:
    """Models, input pictures and upscalers of one job; see ``pipelines.painting.Supplies``."""

    def __init__(self, painter: Painter, message: dict[str, Any], checkpoint: str) -> None:
        self._painter = painter
        self._job = message["job"]
        self._files = {checkpoint: message, **message.get("others", {})}
        self._latest: weakref.ref[LoadedModel] | None = None
        self._inputs = message.get("inputs", {})
        self._weights = painter.weights(message)
        self.embeddings = painter.embeddings(message)
        self.loras = _NetworkFiles("LoRA", message.get("loras", {}))
        self.hypernetworks = _NetworkFiles("hypernetwork", message.get("hypernetworks", {}))
        self.networks = JobNetworks(
            [
                JobLoras(
                    lambda name: painter.models.lora(self.loras.path(name)),
                    self._warn,
                    painter.models.make_room,
                ),
                JobHypernetworks(
                    lambda name: read_hypernetwork(self.hypernetworks.path(name)), self._warn
                ),
            ],
            self._warn,
        )

    def _warn(self, text: str) -> None:
        self._painter.sender.send({"type": "warning", "job": self._job, "message": text})

    def model(self, checkpoint: str) -> LoadedModel:
        if checkpoint not in self._files:
            raise CheckpointError(
                f"The job needs {checkpoint!r}, whose file was not looked up for it.",
                "Ask for the picture again.",
            )
        model = self._painter.model(self._job, self._files[checkpoint])
        self._latest = weakref.ref(model)
        return model

    @property
    def latest(self) -> LoadedModel | None:
        """The model that was asked for last, while it is in memory; nothing is loaded."""
        return self._latest() if self._latest else None

    def encoder(self, model: LoadedModel) -> PromptEncoder:
        encoder = self._painter.encoder(model)
        encoder.embeddings = self.embeddings
        return encoder

    def input(self, key: str) -> Image.Image:
        if key not in self._inputs:
            raise LibraryError("The input picture of this job is missing.", "Choose it again.")
        return load_upright(self._inputs[key])

    def upscaler(self, name: str) -> Upscaler:
        return PLAIN[name] if name in PLAIN else self._weights.network_upscaler(name)

    def face_mender(self, wish: FaceRestoration) -> PaintedFaces:
        return self._weights.painted_faces(wish)


class _NetworkFiles:
    """The files of one kind of network that prompts name; see ``lora_files``.

    Args:
        what: What people call the kind. facts: By name, as they came with the job.
    """

    def __init__(self, what: str, facts: dict[str, dict[str, Any]]) -> None:
        self._what = what
        self._facts = facts

    def path(self, name: str) -> Path:
        """The file of a name in a prompt.

        Raises:
            CheckpointError: There is none; says why.
        """
        facts = self._facts.get(name)
        if facts is None or "problem" in facts:
            told = f"No {self._what} named {name!r} was looked up for this job."
            facts = facts or {"problem": told}
            raise CheckpointError(facts["problem"], facts.get("hint", "Ask for it again."))
        return Path(facts["path"])

    @property
    def hashes(self) -> str:
        """``name: hash, …`` of those that are there, as recipes tell it."""
        known = {name: facts.get("hash") for name, facts in self._facts.items()}
        cut = str.maketrans("", "", ":,")
        return ", ".join(f"{name.translate(cut)}: {h}" for name, h in known.items() if h)


class _JobListener:
    """Turns what the pipeline says into messages for the web process."""

    def __init__(
        self,
        painter: Painter,
        message: dict[str, Any],
        params: TextToImage | ImageToImage,
        supplies: _JobSupplies,
        facts: ModelFacts,
        facts_of_others: dict[str, ModelFacts],
    ) -> None:
        self._painter = painter
        self._job = message["job"]
        self._params = params
        self._supplies = supplies
        self._facts = facts
        self._facts_of_others = facts_of_others
        self._wishes = message.get("preview", {})
        self._show = message.get("infotext", {})
        self._batch = -1
        self._step = 0
        self._next_preview = 0.0

    def progress(self, batch: int, batches: int, step: int, steps: int, stage: str) -> None:
        self._batch, self._step = batch, step
        self._send(
            {
                "type": "progress",
                "batch": batch,
                "batches": batches,
                "step": step,
                "steps": steps,
                "stage": stage,
            }
        )

    def preview(self, latents: Tensor) -> None:
        every = self._wishes.get("every_n_steps", 1)
        began = time.monotonic()
        if not self._wishes.get("enabled", True) or every <= 0 or self._step % every:
            return
        model = self._supplies.latest
        if model is None or began < self._next_preview:
            return
        if not self._wishes.get("grid", True):
            latents = latents[:1]
        if isinstance(model, LoadedPipeline):
            pictures = glimpse(model, latents, self._params.width, self._params.height)
        elif self._wishes.get("method") == "Full":
            pictures = decode(model, latents, self.warn)
        else:
            maker = self._painter.preview_maker(model, self._wishes, self.warn)
            began = time.monotonic()  # choosing it happens once
            pictures = maker.draw(latents)
        if not pictures:
            return
        image = side_by_side(pictures)
        image_format = self._wishes.get("format", "jpeg")
        if image_format not in PREVIEW_FORMATS:
            image_format = "jpeg"
        data = io.BytesIO()
        image.save(data, image_format, **({"quality": 80} if image_format != "png" else {}))
        self._send({"type": "preview", "image": data.getvalue(), "format": image_format})
        ended = time.monotonic()
        self._next_preview = ended + max(PREVIEW_SECONDS, PREVIEW_PAUSE * (ended - began))

    def finished(self, picture: Picture) -> None:
        params = self._params
        is_outpainted = isinstance(params, ImageToImage) and params.outpaint is not None
        infotext = write_recipe(
            params,
            self._facts,
            index=picture.index,
            seed=picture.seed,
            subseed=picture.subseed,
            show=self._show,
            others=self._facts_of_others,
            grown_to=picture.image.size if is_outpainted or self._facts.has_own_sampler else None,
            networks=self.networks(),
        )
        output = params.output
        data = encode(
            picture.image,
            format=output.format,
            infotext=infotext if output.embed_infotext else None,
            quality=output.quality,
            lossless=output.lossless,
        )
        self._send(
            {
                "type": "image",
                "index": picture.index,
                "batch": picture.index // params.batch_size,
                "image": data,
                "format": output.format,
                "infotext": infotext,
                "seed": picture.seed,
                "subseed": picture.subseed,
                "width": picture.image.width,
                "height": picture.image.height,
                "facts": {
                    "model_name": self._facts.name,
                    "model_hash": (self._facts.sha256 or "")[:10],
                },
            }
        )

    def networks(self) -> dict[str, str]:
        """What the prompts have brought in so far; see ``write_recipe``."""
        tells_loras, tells = (self._show.get(f"{kind}_hashes", True) for kind in ("lora", "ti"))
        return {
            "Lora hashes": self._supplies.loras.hashes if tells_loras else "",
            "Hypernet hashes": self._supplies.hypernetworks.hashes if tells_loras else "",
            "TI hashes": self._supplies.embeddings.hashes() if tells else "",
        }

    def warn(self, message: str) -> None:
        self._send({"type": "warning", "message": message})

    def should_stop(self) -> bool:
        return self._painter.asked.should_stop

    def takes_next_batch(self) -> bool:
        if self._painter.asked.interrupted:
            return False
        self._painter.asked.clear_skip()
        return True

    def _send(self, message: dict[str, Any]) -> None:
        self._painter.sender.send({**message, "job": self._job})
