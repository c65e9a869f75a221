"""Runs one training: in the queue's worker, and for ``launch.py train``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from webui.checkpoints.families import FAMILIES
from webui.checkpoints.families.model import TextPart
from webui.checkpoints.load import LoadedModel, alphas_cumprod, load_part
from webui.checkpoints.load_parts import load_vae
from webui.checkpoints.lora_file import read_lora
from webui.checkpoints.specs import ArchSpec
from webui.errors import DeviceMemoryError, JobCancelled, JobPaused, TrainingError
from webui.model_process.train_samples import SamplePainter
from webui.networks.lora.applying import NetworkChange, set_changes
from webui.networks.lora.matching import LayerTable, match_layers, text_layers, unet_layers
from webui.params import TrainLora
from webui.params.training import TrainingOptions
from webui.progress import Asked
from webui.prompts.chinese.dictionary import Dictionary, our_words
from webui.prompts.chinese.translate import translate
from webui.torch_setup import is_out_of_memory
from webui.training.base import Base, TextEncoder
from webui.training.checks import check_options, with_model_type
from webui.training.dataset import PictureDataset, open_dataset
from webui.training.estimates import work_of_training
from webui.training.event_file import EventFile
from webui.training.learning import HALVES
from webui.training.metadata import Hashes
from webui.training.processes import Processes
from webui.training.starting import (
    check_folders,
    check_length,
    check_optimizer,
    check_resumed,
    check_weights,
    identified,
)
from webui.training.state import state_in
from webui.training.steps import history_name
from webui.training.trainer import NEEDS_LESS, Outcome, Trainer
from webui.training.watching import StepFacts, Watcher
from webui.wire import Sender

TELL_SECONDS: Final = 0.25
"""Progress is told so often at most."""


@dataclass(frozen=True)
class TrainFiles:
    """Where a training finds and puts what it needs.

    Attributes:
        checkpoint: File or folder of the base. sha256: Of the file, when it is known.
        folder: For LoRAs, samples and history. autosave: For the state of a crash or a pause.
        cache: For latents on disk.
        dictionary: Holds Chinese words that a person added; None = none.
    """

    checkpoint: Path
    folder: Path
    autosave: Path
    cache: Path
    sha256: str | None = None
    vae: Path | None = None
    dictionary: Path | None = None


@dataclass(frozen=True)
class Trained:
    """A training that ended, or waits.

    Attributes:
        work: What this run of it calculated, see ``estimates.work_of_training``.
    """

    outcome: Outcome
    work: float


def train(params: TrainLora, files: TrainFiles, watcher: Watcher, device: torch.device) -> Trained:
    """Check, load, train, and look at the finished file with the eyes of our own reader.

    Raises:
        WebUIError: It cannot be done, or not go on; the message says why.
    """
    processes = Processes(device)
    options, spec, dataset = _looked_over(params, files, watcher, device, processes)
    say = translator(options, files.dictionary)
    options = options.model_copy(update={"trigger_words": say(options.trigger_words)})
    watcher.stage("loading", 0, 0)
    with closing(EventFile.of(options) if processes.is_first else EventFile(None)) as log:
        try:
            base, painter = _base(options, files, spec, device), None
            if options.sample_prompts and processes.is_first:
                painter = SamplePainter(_whole(base, spec), options, files.folder, watcher, say)
            trainer = Trainer(
                options,
                base,
                dataset,
                watcher,
                folder=files.folder,
                autosave=files.autosave,
                paint=painter,
                checkpoint=Hashes.of(files.checkpoint, files.sha256),
                vae=Hashes.of(files.vae) if files.vae else None,
                log=log,
                say=say,
            )
            outcome = trainer.run()
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as err:
            if not is_out_of_memory(err):
                raise
            raise DeviceMemoryError("Memory ran out before the first step.", NEEDS_LESS) from err
    if outcome.files and not outcome.is_paused and not outcome.is_stopped:
        _look_at(outcome.files[-1], base)
    parameters, steps = sum(p.numel() for p in base.unet.parameters()), outcome.step - outcome.began
    return Trained(outcome, work_of_training(options, parameters, dataset.plan, steps))


def translator(options: TrainingOptions, dictionary: Path | None) -> Callable[[str], str]:
    """What captions say to the model: the English of Chinese ones, where that is wanted."""
    if not options.translate_captions:
        return str
    words = Dictionary(dictionary).words() if dictionary is not None else our_words()
    return lambda text: translate(text, words).text


def _looked_over(
    params: TrainLora,
    files: TrainFiles,
    watcher: Watcher,
    device: torch.device,
    processes: Processes,
) -> tuple[TrainingOptions, ArchSpec, PictureDataset]:
    """Everything that can be told to be wrong before the model is read.

    Returns:
        The options that count, what the checkpoint is, and the pictures.
    Raises:
        WebUIError: It cannot be done; the message says why.
    """
    options = params.options.model_copy(update={"output_dir": str(files.folder)})
    watcher.stage("checking", 0, 0)
    path = files.checkpoint
    spec = identified(path, options)
    options = with_model_type(options, spec.family)
    goes_on = state_in(files.autosave) is not None
    checked = options.model_copy(update={"output_dir": ""}) if goes_on else options
    said = check_options(checked, family=spec.family, device=device.type)
    for sentence in said:
        watcher.warn(sentence)
    if options.mixed_precision == "bf16" and not _has_bf16(device):
        watcher.warn(
            "mixed_precision: this card does not calculate in bf16 itself, which is slow and "
            'may end in a loss that is no number. "fp16" or "no" are safer.'
        )
    check_optimizer(options)
    check_weights(options, spec.family)
    check_resumed(options, spec.family, path)
    if spec.prediction_type == "v_prediction" and not options.v_parameterization:
        watcher.warn("The checkpoint predicts v, so v_parameterization is switched on.")
        options = options.model_copy(update={"v_parameterization": True})
    assert options.seed is not None, "the seed is drawn before a training is stored"
    dataset = open_dataset(options, params.datasets, options.seed, cache_folder=files.cache)
    for sentence in dataset.facts.warnings:
        if sentence not in said:
            watcher.warn(sentence)
    batches = dataset.facts.batches_per_epoch
    check_length(options, batches, processes.count)
    check_folders(options, path, batches, processes.count)
    return options, spec, dataset


def _has_bf16(device: torch.device) -> bool:
    """Whether a card calculates in bf16; of the CPU ``checks.py`` tells."""
    return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)


def _base(
    options: TrainingOptions, files: TrainFiles, spec: ArchSpec, device: torch.device
) -> Base:
    """The frozen model; its U-Net is read when it is first asked for."""
    path, family = files.checkpoint, FAMILIES[spec.family]
    dtype = HALVES.get(options.mixed_precision, torch.float32)
    vae_dtype = torch.float32 if options.no_half_vae else dtype
    if files.vae is not None:
        vae = load_vae(files.vae, device=device, dtype=vae_dtype)
    else:
        vae = load_part(path, "vae", device=device, dtype=vae_dtype)

    def text(facts: TextPart) -> TextEncoder:
        return TextEncoder(facts, load_part(path, facts.folder, device=device, dtype=dtype))

    def unet() -> Any:
        read = load_part(path, "unet", device=device, dtype=dtype)
        _merge("unet", read, unet_layers(read), options)
        return read

    texts = [text(facts) for facts in family.texts]
    for one in texts:
        layers = text_layers(one.network, one.facts.lora_number)
        _merge("text", one.network, layers, options)
    scaling = spec.vae.scaling_factor if spec.vae else family.scaling_factor
    kept = alphas_cumprod(is_zero_terminal=options.zero_terminal_snr or spec.zero_terminal_snr)
    return Base(spec.family, unet, texts, vae, kept, scaling, device, dtype, path)


def _whole(base: Base, spec: ArchSpec) -> LoadedModel:
    """The same networks as pipelines want them."""
    return LoadedModel(
        spec=spec,
        unet=base.unet,
        vae=base.vae,
        text_encoders=tuple(text.network for text in base.texts),
        alphas_cumprod=base.alphas_cumprod,
        prediction_type=spec.prediction_type,
        device=base.device,
        dtype=base.dtype,
        path=base.path,
    )


def _tables(base: Base) -> dict[str, LayerTable]:
    tables = {"unet": unet_layers(base.unet)}
    for number, text in enumerate(base.texts, 1):
        tables[f"text{number}"] = text_layers(text.network, text.facts.lora_number)
    return tables


def _merge(part: str, network: nn.Module, table: LayerTable, options: TrainingOptions) -> None:
    """Put ``base_weights`` into a network, so that the new LoRA learns what is left."""
    changes: list[NetworkChange] = []
    for number, path in enumerate(options.base_weights):
        weights = options.base_weights_multiplier
        weight = weights[number] if number < len(weights) else 1.0
        layers = match_layers(read_lora(Path(path)), {part: table}).layers[part]
        changes.append(NetworkChange((path, number), layers, weight))
    if changes:
        set_changes(network, changes)


def _look_at(path: Path, base: Base) -> None:
    """Raise TrainingError when our own reader does not know every layer of a finished file."""
    if path.suffix != ".safetensors" or not base.texts:
        return
    match = match_layers(read_lora(path), _tables(base))
    if match.strangers or match.unfit:
        raise TrainingError(
            f"{path.name} was written, but {len(match.strangers) + len(match.unfit)} of its "
            f"{match.total} layers do not fit the model it was trained on.",
            "This is a defect; please report it with the options of this training.",
        )


class TrainRun:
    """One training of the queue.

    Args:
        message: The supervisor's ``run`` message; ``training`` says where files are.
    """

    def __init__(
        self,
        params: TrainLora,
        message: Mapping[str, Any],
        sender: Sender,
        asked: Asked,
        device: torch.device,
    ) -> None:
        self._params, self._sender, self._asked = params, sender, asked
        self._job, self._device = message["job"], device
        told = message["training"]
        vae = told.get("vae")
        self._files = TrainFiles(
            Path(told["checkpoint"]["path"]), Path(told["folder"]), Path(told["autosave"]),
            Path(told["cache"]), told["checkpoint"].get("sha256"), Path(vae) if vae else None,
            Path(told["dictionary"]),
        )  # fmt: skip
        self._told_at = 0.0
        self._epoch, self._epochs = 0, -1

    def run(self) -> dict[str, Any]:
        """Train to the end.

        Returns:
            Facts for the job row: ``files``, ``folder``, ``steps``, ``loss``; ``work``, see
            ``Trained``.
        Raises:
            JobPaused: Its state is kept. WebUIError: It cannot go on.
        """
        try:
            trained = train(self._params, self._files, self, self._device)
        except JobCancelled as err:
            if self._asked.paused:
                raise JobPaused("The training waits.") from err
            raise
        outcome = trained.outcome
        if outcome.is_paused:
            raise JobPaused("The training waits.")
        return {
            "files": [str(file) for file in outcome.files],
            "folder": str(self._files.folder),
            "history": history_name(self._params.options),
            "steps": outcome.step,
            "work": trained.work,
            "loss": outcome.loss,
            "interrupted": outcome.is_stopped,
        }

    # What training.watching.Watcher asks for

    def stage(self, name: str, done: int, total: int) -> None:
        """See ``Watcher``."""
        self._progress(name, done, total, is_urgent=done == 0)

    def stepped(self, facts: StepFacts) -> None:
        """See ``Watcher``."""
        self._epoch, self._epochs = facts.epoch, facts.epochs
        is_last = facts.step == facts.steps
        told = asdict(facts)
        self._progress("training", facts.step, facts.steps, is_urgent=is_last, training=told)

    def _progress(
        self, stage: str, done: int, total: int, *, is_urgent: bool = False, **more: Any
    ) -> None:
        now = time.monotonic()
        if not is_urgent and now - self._told_at < TELL_SECONDS:
            return
        self._told_at = now
        self._send(
            {
                "type": "progress", "stage": stage, "step": done, "steps": total,
                "batch": max(0, self._epoch - 1), "batches": self._epochs, **more,
            }
        )  # fmt: skip

    def saved(self, path: Path, epoch: int, step: int, is_last: bool) -> None:
        """See ``Watcher``."""
        facts = {"path": str(path), "epoch": epoch, "step": step, "is_last": is_last}
        self._send({"type": "training-file", **facts})

    def sampled(self, path: Path, epoch: int, step: int, index: int, prompt: str) -> None:
        """See ``Watcher``."""
        facts = {"path": str(path), "epoch": epoch, "step": step, "index": index}
        self._send({"type": "training-sample", **facts, "prompt": prompt})

    def validated(self, epoch: int, step: int, loss: float, train_loss: float) -> None:
        """See ``Watcher``."""
        facts = {"epoch": epoch, "step": step, "loss": loss, "train_loss": train_loss}
        self._send({"type": "training-validation", **facts})

    def warn(self, message: str) -> None:
        """See ``Watcher``."""
        self._send({"type": "warning", "message": message})

    def wants_stop(self) -> bool:
        """See ``Watcher``."""
        return self._asked.interrupted

    def wants_samples(self) -> bool:
        """See ``Watcher``."""
        return self._asked.take_samples()

    def wants_pause(self) -> bool:
        """See ``Watcher``."""
        return self._asked.paused

    def _send(self, message: dict[str, Any]) -> None:
        self._sender.send({**message, "job": self._job})
