"""What the web process knows of trainings: what one would come to, how others went, their files.

No torch: plans, steps and memory follow from pictures and headers, time from what was done before.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webui.checkpoints.headers import read_header
from webui.checkpoints.sidecars import write_notes, write_preview
from webui.errors import CheckpointError, JobError, LibraryError, ParamsError, WebUIError
from webui.params import TextToImage, TrainingOptions, TrainLora
from webui.pictures import encode, load_upright
from webui.services.training.jobs import default_folder, states_folder
from webui.services.training.sets import clean_name
from webui.services.training.states import state_left
from webui.training.checks import with_model_type
from webui.training.dataset_plan import PicturePlan, make_plan
from webui.training.estimates import (
    Estimate,
    ModelSize,
    PastWork,
    estimate,
    work_of_painting,
)
from webui.training.steps import file_stem, history_name

if TYPE_CHECKING:
    from webui.checkpoints.catalog import Record
    from webui.jobs.store import Job
    from webui.studio import Studio

KIND = "train-lora"
LOOKED_BACK_AT = 12
"""Finished jobs of each kind from which time is foretold."""
SPEED_SECONDS = 5.0
"""So long a page waits for the device to be measured; what comes later is there the next time."""
TRAINABLE = ("sd1", "sd2", "sdxl")
FEWEST_STEPS = 400
PREVIEW_SIDE = 512


@dataclass(frozen=True)
class Foresight:
    """What a training would come to.

    Attributes:
        estimate: None while its checkpoint is not known. family: Of that.
        kind: ``cpu``, ``cuda`` … device: Its name.
    """

    plan: PicturePlan
    estimate: Estimate | None
    checkpoint: str = ""
    device: str = ""
    family: str = ""
    kind: str = ""


def foresee(studio: Studio, options: TrainingOptions) -> Foresight:
    """Look at the pictures and reckon steps, memory and time.

    Raises:
        ParamsError, DatasetError: The pictures cannot be trained on as they are.
    """
    record = checkpoint_of(studio, options)
    family = family_of(studio, record)
    options = with_model_type(options, family)
    plan = make_plan(options, seed=options.seed or 0, goes_on=True)
    size = model_size(record) if record is not None and family in TRAINABLE else None
    if record is None or size is None:
        return Foresight(plan, None)
    device = device_of(studio)
    past = past_work(studio)
    speed = 0.0 if past else speed_of(studio)
    found = estimate(options, plan, size, family, device, past, speed)
    name = str(studio.worker_facts.get("device_name", device))
    return Foresight(plan, found, record.name, name, family, device)


def device_of(studio: Studio) -> str:
    """What trainings run on: ``cpu``, ``cuda`` …"""
    device = str(studio.worker_facts.get("device", studio.settings.device or "cpu"))
    return device.partition(":")[0]


def speed_of(studio: Studio) -> float:
    """Floating-point operations a second of the device; 0 while it was not measured and the model
    process is not there or at work. The first time takes a second or two."""
    if "flops" in studio.worker_facts or studio.supervisor.worker_state != "ready":
        return float(studio.worker_facts.get("flops") or 0)
    try:
        reply = studio.supervisor.request({"type": "speed"}, SPEED_SECONDS)
    except JobError:
        return 0.0
    studio.worker_facts = {**studio.worker_facts, "flops": reply.get("flops")}
    return float(reply.get("flops") or 0)


def checkpoint_of(studio: Studio, options: TrainingOptions) -> Record | None:
    """The checkpoint that options name, or the chosen one; None when it is not there."""
    try:
        if options.pretrained_model_name_or_path:
            return studio.checkpoint(options.pretrained_model_name_or_path)
        return studio.current_checkpoint()
    except CheckpointError:
        return None


def family_of(studio: Studio, record: Record | None) -> str:
    """``sd1``, ``sdxl`` …; '' when unknown."""
    return studio.catalog.inspected(record).family if record is not None else ""


def model_size(record: Record) -> ModelSize | None:
    """Parameters of a checkpoint; None for folders and files that cannot be read."""
    return _model_size(record.path, record.mtime_ns)


@lru_cache(maxsize=64)
def _model_size(path: Path, _mtime_ns: int) -> ModelSize | None:
    if not path.is_file():
        return None
    try:
        return ModelSize.of(read_header(path).tensors)
    except CheckpointError:
        return None


def past_work(studio: Studio) -> list[PastWork]:
    """What this machine has trained and painted lately, with any checkpoint whose size is known."""
    found = []
    for kind in (KIND, "txt2img"):
        done = studio.jobs.list(
            states=("done",), kinds=(kind,), limit=LOOKED_BACK_AT, newest_first=True
        )
        for job in done:
            try:
                one = _work_of(studio, job)
            except WebUIError:
                continue  # its checkpoint is gone
            if one is not None:
                found.append(one)
    return found


def _work_of(studio: Studio, job: Job) -> PastWork | None:
    result = job.result or {}
    seconds = float(result.get("seconds") or 0)
    if job.kind == KIND:
        return PastWork(float(result.get("work") or 0), seconds, is_training=True)
    params = studio.params_of(job)
    if not isinstance(params, TextToImage) or params.hires is not None:
        return None
    size = model_size(studio.checkpoint(params.checkpoint))
    if size is None:
        return None
    one = work_of_painting(size.unet, params.width, params.height, params.steps)
    return PastWork(one * params.image_count, seconds, is_training=False)


# Those that were


@dataclass(frozen=True)
class TrainedFile:
    """One LoRA of a training; ``epoch`` 0 where its name tells none."""

    path: Path
    epoch: int
    step: int
    is_last: bool


def run_folder_of(studio: Studio, params: TrainLora) -> Path:
    """Where a training writes its files."""
    if params.options.output_dir:
        return Path(params.options.output_dir)
    return default_folder(params, studio.settings.folders)


def history_of(folder: Path, options: TrainingOptions) -> list[dict[str, Any]]:
    """The lines of a training's history: steps, files, samples, validations."""
    path = folder / history_name(options)
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            facts = json.loads(line)
        except ValueError:
            continue  # the last one may be cut off by a crash
        if isinstance(facts, dict):
            found.append(facts)
    return found


def losses_of(history: Iterable[dict[str, Any]]) -> list[tuple[int, float, float]]:
    """(step, loss, running mean) of every step."""
    return [
        (int(line["step"]), float(line["loss"]), float(line["average_loss"]))
        for line in history
        if "kind" not in line and line.get("loss") is not None and "average_loss" in line
    ]


def files_of(
    folder: Path, options: TrainingOptions, history: Sequence[dict[str, Any]]
) -> list[TrainedFile]:
    """LoRAs of a training that are still there, in the order they were written."""
    told = [line for line in history if line.get("kind") == "file"]
    found: dict[str, TrainedFile] = {}
    for line in told:
        path = folder / Path(str(line.get("file", ""))).name
        if path.is_file():
            facts = (int(line.get("epoch") or 0), int(line.get("step") or 0))
            found[path.name] = TrainedFile(path, *facts, is_last=path.stem == file_stem(options))
    return list(found.values())


def state_of(studio: Studio, job: Job) -> Path | None:
    """The state that a training left behind which was stopped, or failed."""
    if not job.is_finished:
        return None
    return state_left(states_folder(studio.settings.folders), job.id)


def go_on(studio: Studio, job: Job, *, client: str) -> Job:
    """Put a training into the queue that goes on where another one stopped.

    Raises:
        ParamsError: Its state is gone.
    """
    params, state = studio.params_of(job), state_of(studio, job)
    assert isinstance(params, TrainLora), "only trainings have states"
    if state is None:
        raise ParamsError(
            f"The state of training {job.id} is no longer there.",
            "Begin it anew, or from its last file with network_weights.",
            field="resume",
        )
    options = params.options.model_copy(update={"resume": str(state)})
    return studio.submit(params.model_copy(update={"options": options}), client=client)


def samples_in(folder: Path) -> list[Path]:
    """Sample pictures of a training by name, which is by epoch and prompt."""
    inside = folder / "sample"
    return sorted(inside.glob("*.png")) if inside.is_dir() else []


def make_card(
    studio: Studio,
    file: Path,
    *,
    name: str,
    trigger: str,
    notes: str,
    sample: Path | None,
) -> Record:
    """Copy a trained LoRA into models/Lora, with trigger words and a picture beside it.

    Args:
        notes: Where it comes from, in a few lines.
        sample: Becomes its preview.
    Returns:
        Its record, as the gallery lists it.
    Raises:
        LibraryError: It cannot be copied.
        CheckpointError: What lies beside it cannot be written.
    """
    folder = studio.settings.folders.own_models / "Lora"
    target = _free(folder, clean_name(name) or file.stem, file.suffix)
    part = target.with_name(f".{target.name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, part)
        part.replace(target)
    except OSError as err:
        part.unlink(missing_ok=True)
        raise LibraryError(
            f'"{file.name}" could not be copied into {folder}: {err.strerror or err}.',
            "Make room on that disk, or copy the file yourself.",
            path=str(target),
        ) from err
    studio.catalog.refresh()
    record = studio.catalog.find_lora(target.stem)
    write_notes(record, {"activation": trigger, "notes": notes, "weight": 1.0})
    if sample is not None:
        image = load_upright(sample)
        image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        write_preview(record, encode(image))
    studio.catalog.refresh()
    return record


def pictures_told(file: Path) -> int:
    """How many pictures a LoRA's own words say it was made from; 0 when it does not tell."""
    try:
        told = read_header(file).metadata
        if "ss_datasets" in told:  # one folder may be trained at several sizes
            datasets = json.loads(told["ss_datasets"])
            subsets = [one for dataset in datasets for one in dataset["subsets"]]
            names = ("image_dir", "metadata_file")
            counts = {
                tuple(one[name] for name in names): int(one["img_count"])
                for one in subsets
                if not one["is_reg"]
            }
            return sum(counts.values())
        folders = json.loads(told.get("ss_dataset_dirs", "{}"))
        return sum(int(one["img_count"]) for one in folders.values())
    except (CheckpointError, ValueError, TypeError, KeyError, AttributeError):
        return 0


def _free(folder: Path, stem: str, suffix: str) -> Path:
    target, number = folder / f"{stem}{suffix}", 1
    while target.exists():
        number += 1
        target = folder / f"{stem}-{number}{suffix}"
    return target
