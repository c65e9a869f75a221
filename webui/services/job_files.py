"""The files a job needs, looked up when it is about to run: what the model process is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from webui.checkpoints.catalog import Catalog, EmbeddingFacts, Record
from webui.errors import CheckpointNotFoundError
from webui.extensions.a1111.runner import A1111
from webui.jobs.live import LiveJobs
from webui.jobs.store import Job, JobStore
from webui.library.inputs import Inputs
from webui.library.library import Library
from webui.library.videos import Videos
from webui.options import Options
from webui.params import (
    AnyParams,
    Describing,
    FileTool,
    MakeMap,
    Painting,
    Plot,
    TrainLora,
    from_json,
)
from webui.services.control_maps import map_network_message
from webui.services.controlnets import KIND as CONTROLNET_KIND
from webui.services.controlnets import ControlNets
from webui.services.describers import describer_message, describer_of_loops
from webui.services.embedding_list import EmbeddingList
from webui.services.extensions.room import ExtensionRoom
from webui.services.file_tools import file_tool_message
from webui.services.lora_files import hypernetwork_files, lora_files
from webui.services.memory_limits import memory_limits
from webui.services.named_weights import NamedWeights
from webui.services.plots.message import plot_message
from webui.services.training.jobs import training_message
from webui.services.vae_choice import AUTOMATIC, VaeChoice, choose_vae
from webui.settings import Settings


@dataclass(frozen=True)
class JobFiles:
    """Looks up files by what requests name.

    Attributes:
        embeddings: Textual inversions that can be read. embedding_list: Which of them the model
            process knows already.
    """

    settings: Settings
    options: Options
    catalog: Catalog
    weights: NamedWeights
    jobs: JobStore
    live: LiveJobs
    library: Library
    inputs: Inputs
    videos: Videos
    embeddings: Callable[[], tuple[tuple[Record, EmbeddingFacts], ...]]
    embedding_list: EmbeddingList
    extensions: ExtensionRoom

    def for_job(self, job: Job) -> dict[str, Any]:
        """The files and options of the supervisor's ``run`` message.

        Raises:
            CheckpointNotFoundError: Something the job names is not there any more.
        """
        params = from_json(job.params_json)
        done = self.library.images_of(job.id)
        return {
            "weights": self.weights.paths(),
            "tiling": {
                "tile": self.options["ESRGAN_tile"],
                "overlap": self.options["ESRGAN_tile_overlap"],
            },
            "fetch": self._fetch_folders(),
            "video": {
                "folder": str(self.videos.parts_folder(job.id)),
                "is_made": self.videos.of(job.id) is not None,
            },
            "inputs": {key: str(self.inputs.path(key)) for key in params.input_keys},
            "have": sorted(p.index for p in done if p.kind == "image"),
            **self.extensions.message_for(params, partial(self.jobs.add_warning, job.id)),
            **self._for_kind(job, params),
        }

    def _for_kind(self, job: Job, params: AnyParams) -> dict[str, Any]:
        """What only this kind of job needs; others neither wait for it nor carry it."""
        folders = self.settings.folders
        if isinstance(params, Painting):
            return self._for_painting(job, params)
        if isinstance(params, FileTool):
            return {"file_tool": file_tool_message(params, self.catalog, folders)}
        if isinstance(params, TrainLora):
            return training_message(job.id, params, self.catalog, folders)
        if isinstance(params, Plot):
            return {"plot": plot_message(job, params, self.jobs, self.library)}
        if isinstance(params, MakeMap):
            return {"map_networks": map_network_message([params.unit], folders)}
        if isinstance(params, Describing):
            offered = self.extensions.offered("taggers")
            return {"describer": describer_message(params, folders, offered)}
        return {}

    def _for_painting(self, job: Job, params: Painting) -> dict[str, Any]:
        self.catalog.see_new_embeddings()
        has_hashes = not self.settings.no_hashing
        options = self.options
        return {
            **(self._model_files(job, params.checkpoint, params.vae) if params.checkpoint else {}),
            "embeddings": self.embedding_list.for_job(
                job.id, [_embedding_message(r, f) for r, f in self.embeddings()]
            ),
            "loras": lora_files(params, self.catalog, has_hashes=has_hashes),
            "hypernetworks": hypernetwork_files(params, self.catalog, has_hashes=has_hashes),
            "controlnets": ControlNets(self.catalog).message(params),
            "map_networks": map_network_message(params.control, self.settings.folders),
            "wants_maps": job.origin == "api",
            **self._for_loops(job, params),
            "others": {n: self._model_files(job, n, params.vae) for n in params.other_checkpoints},
            **({"choices": self._choices(params)} if A1111 in params.extensions else {}),
            "memory": memory_limits(options),
            "preview": {
                "enabled": options["live_previews_enable"],
                "every_n_steps": options["show_progress_every_n_steps"],
                "format": options["live_previews_image_format"],
                "method": options["show_progress_type"],
                "decoders": [str(r.path) for r in self.catalog.records("vae-approx")],
                "grid": options["show_progress_grid"],
            },
            "infotext": {
                "model_name": options["add_model_name_to_info"],
                "model_hash": options["add_model_hash_to_info"],
                "vae_name": options["add_vae_name_to_info"],
                "vae_hash": options["add_vae_hash_to_info"],
                "version": options["add_version_to_infotext"],
                "user": options["add_user_name_to_info"],
                "lora_hashes": options["lora_add_hashes_to_infotext"],
                "ti_hashes": options["textual_inversion_add_hashes_to_infotext"] and has_hashes,
            },
        }

    def _choices(self, params: Painting) -> dict[str, Any]:
        """What scripts may name while the job runs: nobody knows before what they will."""

        def vae_of(wanted: str, checkpoint: Record) -> dict[str, Any] | None:
            chosen = self._chosen_vae(wanted, checkpoint).record
            return _file_facts(chosen) if chosen else None

        checkpoints = {
            one.name: {
                **_file_facts(one),
                "vae": vae_of(params.vae, one),
                "usual_vae": vae_of(AUTOMATIC, one),
            }
            for one in self.catalog.checkpoints()
            if not one.problem
        }
        loras = {
            one.stem: {"path": str(one.path), "hash": one.short_hash}
            for one in self.catalog.loras()
            if not one.problem
        }
        vaes = [_file_facts(one) for one in self.catalog.vaes()]
        return {"checkpoints": checkpoints, "vaes": vaes, "loras": loras}

    def _for_loops(self, job: Job, params: Painting) -> dict[str, Any]:
        """Pictures without the words that loops were to add are worth more than none."""
        try:
            describer = describer_of_loops(params, self.settings.folders)
        except CheckpointNotFoundError as err:
            told = f"The loops asked no interrogator, prompts stay as they are: {err}"
            self.jobs.add_warning(job.id, told)
            return {}
        return {"describer": describer} if describer else {}

    def for_loading(self, checkpoint: Record) -> dict[str, Any]:
        """The ``load`` message for a checkpoint that no job has asked for yet."""
        vae = self._chosen_vae(self.options["sd_vae"] or "None", checkpoint).record
        return {
            "type": "load",
            "checkpoint": _file_facts(checkpoint),
            "vae": _file_facts(vae) if vae else None,
            "memory": memory_limits(self.options),
            "fp8_storage": self.options["fp8_storage"],
            "cache_fp16_weight": self.options["cache_fp16_weight"],
        }

    def of_next(self) -> tuple[Path, ...]:
        """What the next job's models will be read from and the present job's are not; none while
        nothing paints."""
        present = [self.jobs.get(live.job_id) for live in self.live.running()]
        coming = self.jobs.next_waiting() if present else None
        if coming is None:
            return ()
        known = {path for job in present for path in self._models_of(job)}
        return tuple(path for path in self._models_of(coming) if path not in known)

    def _models_of(self, job: Job) -> tuple[Path, ...]:
        """Files of checkpoints, VAEs and LoRAs that a painting job reads."""
        params = from_json(job.params_json)
        if not isinstance(params, Painting) or not params.checkpoint:
            return ()
        found: dict[Path, None] = {}
        for name in (params.checkpoint, *params.other_checkpoints):
            record = self.catalog.find_checkpoint(name)
            vae = self._chosen_vae(params.vae, record).record
            found.update(dict.fromkeys([record.path, *([vae.path] if vae else [])]))
        for unit in params.control:
            found[self.catalog.find(CONTROLNET_KIND, unit.model).path] = None
        loras = lora_files(params, self.catalog, has_hashes=False).values()
        found.update({Path(lora["path"]): None for lora in loras if "path" in lora})
        return tuple(found)

    def _fetch_folders(self) -> dict[str, str]:
        folders = self.settings.folders
        models = folders.data / "models"
        return {"models": str(models), "cache": str(folders.database.parent / "packages")}

    def _model_files(self, job: Job, checkpoint: str, vae: str) -> dict[str, Any]:
        record = self.catalog.current(self.catalog.find_checkpoint(checkpoint))
        return {"checkpoint": _file_facts(record), "vae": self._vae_file(job, vae, record)}

    def _chosen_vae(self, vae: str, checkpoint: Record) -> VaeChoice:
        return choose_vae(
            vae,
            checkpoint,
            self.catalog,
            usual=self.settings.usual_vae,
            overrides_notes=self.options["sd_vae_overrides_per_model_preferences"],
        )

    def _vae_file(self, job: Job, vae: str, checkpoint: Record) -> dict[str, Any] | None:
        choice = self._chosen_vae(vae, checkpoint)
        if choice.warning:
            self.jobs.add_warning(job.id, choice.warning)
        if choice.record is None:
            return None
        if self.settings.no_hashing:
            return _file_facts(choice.record)
        return _file_facts(self.catalog.hash_now(choice.record))


def _file_facts(record: Record) -> dict[str, Any]:
    return {
        "name": record.name,
        "stem": record.stem,
        "path": str(record.path),
        "sha256": record.sha256,
        "size": record.size,
    }


def _embedding_message(record: Record, facts: EmbeddingFacts) -> dict[str, Any]:
    return {
        "name": facts.name,
        "path": str(record.path),
        "vectors": facts.vectors,
        "width": facts.width,
        "size": record.size,
        "mtime_ns": record.mtime_ns,
    }
