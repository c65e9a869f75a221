"""The training, from pictures and a frozen model to LoRA files.

Read ``Trainer.run`` first: it is the whole story. Every random number of a step follows from the
seed and the step's number, so a training that goes on from a state is the one that was never
stopped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch

from webui.errors import DeviceMemoryError, ParamsError, TrainingError
from webui.params.training import TrainingOptions
from webui.prompts.tokenizer import ClipTokenizer
from webui.torch_setup import is_out_of_memory
from webui.training import state as states
from webui.training.base import Base
from webui.training.batch import Batch, Dataset, Plan
from webui.training.event_file import EventFile
from webui.training.frozen import FrozenLayers
from webui.training.learning import Learner, seed_of
from webui.training.memory import ALMOST_FULL, card_memory, memory_facts
from webui.training.metadata import Hashes, RunFacts, session_id
from webui.training.network import TEXT
from webui.training.optimizers import make_optimizer
from webui.training.preparing import begin_with, chosen_rates, make_network, parts_of
from webui.training.processes import Processes
from webui.training.rates import rate_factor
from webui.training.run_files import AUTOSAVE_SECONDS, RunFiles
from webui.training.steps import Due, file_stem, history_name, is_due, training_length
from webui.training.text_cache import TextCache, encoders_key
from webui.training.texts import CaptionEncoder
from webui.training.updates import Updates
from webui.training.watching import (
    RECENT_STEPS,
    CacheProgress,
    History,
    MeanLoss,
    Speed,
    StepFacts,
    Watcher,
    step_line,
)

logger = logging.getLogger(__name__)
MOST_BAD_LOSSES: Final = 3
"""So many steps in a row whose loss is no number end a training."""
NEEDS_LESS: Final = (
    "Lower the resolution or the batch size, or switch on gradient_checkpointing, "
    "cache_latents and network_train_unet_only."
)
Paint = Callable[[int, int, Callable[[float], None]], None]
"""Paints the sample pictures of an epoch (0 = by step) and a step; the third sets the LoRA's
weight."""


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        files: LoRAs in the order they were written. loss: The running mean; None without a step.
        began: The step it went on from; 0 = the first.
        state: Where it can go on from, if it was paused or stopped.
    """

    files: tuple[Path, ...]
    step: int
    epoch: int
    loss: float | None
    began: int = 0
    is_paused: bool = False
    is_stopped: bool = False
    state: Path | None = None


class _Ended(Exception):
    """The person asked to stop or to pause; unwinds the loop."""

    def __init__(self, is_paused: bool) -> None:
        super().__init__("ended")
        self.is_paused = is_paused


class Trainer:
    """One training.

    Args:
        options: With a seed.
        base: Its networks are frozen and get adapters while ``run`` works.
        dataset: See ``batch.Dataset``.
        folder: Where files go.
        autosave: Where the state for a crash or a pause is kept; removed when all is done.
        paint: Paints sample pictures; None = none.
        checkpoint, vae: What files tell of the model; None = made out here.
        log: Gets the numbers of every step; not closed here.
        say: What is learnt for a caption.
    """

    def __init__(
        self,
        options: TrainingOptions,
        base: Base,
        dataset: Dataset,
        watcher: Watcher,
        *,
        folder: Path,
        autosave: Path,
        paint: Paint | None = None,
        checkpoint: Hashes | None = None,
        vae: Hashes | None = None,
        log: EventFile | None = None,
        autosave_seconds: float = AUTOSAVE_SECONDS,
        say: Callable[[str], str] = str,
    ) -> None:
        assert options.seed is not None, "the seed is drawn before a training is stored"
        self._options, self._seed = options, options.seed
        self._base, self._dataset, self._watcher = base, dataset, watcher
        self._folder, self._autosave = folder, autosave
        self._paint = paint
        self._checkpoint, self._vae = checkpoint, vae
        self._autosave_seconds, self._say = autosave_seconds, say
        self._log = log or EventFile(None)
        self._processes = Processes(base.device)

    def run(self) -> Outcome:
        """Train to the end, or until the person wants something else.

        Raises:
            ParamsError: What was asked for does not go together.
            TrainingError: The loss is no number, a file cannot be written, a package is missing.
            DeviceMemoryError: The device is full; a state was written.
        """
        self._prepare()
        self._go_on_from_state()
        self._network.put_on()
        frozen = [FrozenLayers(n) for n in self._base.networks if self._base.device.type == "cpu"]
        for layers in frozen:
            layers.put_on()
        try:
            self._sample(0, 0) if self._options.sample_at_first and not self._place.step else None
            for epoch in range(self._place.epoch, self._length.epochs + 1):
                self._one_epoch(epoch)
            self._save(file_stem(self._options), is_last=True)
        except _Ended as end:
            return self._ended(end)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as err:
            if not is_out_of_memory(err):
                raise
            raise self._out_of_memory(err) from err
        finally:
            for layers in frozen:
                layers.take_off()
            self._network.take_off()
            self._history.flush()
        if self._processes.is_first:
            states.remove_state(self._autosave)
        return self._outcome()

    # Before the first step

    def _prepare(self) -> None:
        options, base = self._options, self._base
        facts = self._dataset.facts
        self._length = training_length(options, facts.batches_per_epoch, self._processes.count)
        self._due = Due.of(options, self._length)
        self._captions = CaptionEncoder(
            base.texts,
            ClipTokenizer.load(),
            length=options.max_token_length or 75,
            clip_skip=options.clip_skip or 1,
            is_weighted=options.weighted_captions,
            say=self._say,
        )
        self._learner = Learner(base, self._captions, options, self._watcher.warn)
        has_text = bool(chosen_rates(options, parts_of(options)).get(TEXT))
        keeps = options.cache_latents_to_disk or options.cache_text_encoder_outputs_to_disk
        with self._processes.first_alone(keeps):
            self._cache(has_text=has_text)
        self._watcher.stage("loading", 0, 0)  # the U-Net
        self._network, self._blocks, self._args = make_network(options, base, self._seed)
        begin_with(self._network, options, self._watcher.warn)
        if options.gradient_checkpointing:
            base.recompute(has_text=has_text)
        self._rates = chosen_rates(options, self._network.parts())
        groups = self._network.groups(self._rates, self._args, self._blocks)
        if not groups:
            raise ParamsError("Nothing would be trained: both learning rates are 0.")
        chosen = make_optimizer(
            options, groups, self._watcher.warn, has_cuda=base.device.type == "cuda"
        )
        factor = rate_factor(options, self._length.steps, max(self._rates.values()))
        self._updates = Updates(
            options, self._network, chosen, factor, base.device, self._processes
        )

    def _cache(self, *, has_text: bool) -> None:
        """Encode what never changes, then let go of the networks that did it."""
        options, base, watcher = self._options, self._base, self._watcher
        if options.cache_latents or options.cache_latents_to_disk:
            key = f"{base.path.name}:{base.scaling_factor}" if self._vae is None else self._vae.new
            checkpoint = self._checkpoint.new if self._checkpoint else ""
            progress = CacheProgress(watcher, "caching latents")
            told = self._dataset.facts.warnings
            self._dataset.cache_latents(base.encode, f"{checkpoint}{key}", progress)
            for sentence in self._dataset.facts.warnings[len(told) :]:
                watcher.warn(sentence)
            if self._paint is None:
                base.vae = None
        captions = self._dataset.captions() if not has_text else None
        if captions is not None:
            watcher.stage("caching texts", 0, len(captions))
            self._captions.keep(sorted(captions), self._text_cache())
            if self._paint is None and TEXT not in parts_of(options):
                self._captions.forget_networks()
                base.texts = []

    def _text_cache(self) -> TextCache | None:
        """Where encoded captions lie on disk, when they shall."""
        options, base = self._options, self._base
        if not options.cache_text_encoder_outputs_to_disk:
            return None
        sha256 = self._checkpoint.new if self._checkpoint else ""
        return self._dataset.text_cache(encoders_key(options, base.path, sha256, base.dtype))

    def _go_on_from_state(self) -> None:
        """Take up a state: the one that is asked for, or that of a crash or a pause."""
        same = {
            "family": self._base.family,
            "model": self._base.path.name,
            "dim": self._args.dim,
            "layers": len(self._network.wanted),
            "optimizer": self._updates.chosen.name,
            "processes": self._processes.count,
        }
        session = session_id(self._seed, {**same, "name": self._options.output_name})
        self._place = states.Place(started_at=round(time.time(), 2), session=session, same=same)
        asked = Path(self._options.resume) if self._options.resume else None
        found = states.state_in(self._autosave) or asked
        if found is not None:
            self._place = states.read_place(found)
            states.check_same(found, self._place, same)
            stored = states.read_tensors(found)
            self._network.load_tensors(stored.network)
            self._updates.take_up(stored.optimizer, stored.mean)
        self._began = self._place.step
        self._losses = MeanLoss(self._length.steps_per_epoch, list(self._place.losses))
        self._folder.mkdir(parents=True, exist_ok=True)
        history = self._folder / history_name(self._options) if self._processes.is_first else None
        self._history = History(history, self._place.step)
        self._speed = Speed()
        self._files = RunFiles(
            self._run_facts,
            self._network,
            self._updates,
            self._place,
            self._due,
            folder=self._folder,
            autosave=self._autosave,
            autosave_seconds=self._autosave_seconds,
        )

    # The loop

    def _one_epoch(self, epoch: int) -> None:
        """All steps of an epoch that are still to be done, and what is due behind it."""
        place, options = self._place, self._options
        accumulation = options.gradient_accumulation_steps
        plan = Plan(
            self._length.steps_per_epoch,
            self._length.steps,
            accumulation,
            self._processes.index,
            self._processes.count,
        )
        place.epoch = epoch
        batches = self._dataset.batches(epoch, plan, skip=place.batch)
        for group in _groups_of(batches, accumulation):
            if place.step >= self._length.steps:
                break
            self._step(group)
            place.batch += len(group)
            self._after_step(epoch)
        place.epoch, place.batch = epoch + 1, 0
        self._after_epoch(epoch)

    def _step(self, group: list[Batch]) -> None:
        """One optimiser step from the batches that are accumulated for it."""
        place = self._place
        self._updates.begin(place.step)
        total = 0.0
        for number, batch in enumerate(group):
            self._network.set_multiplier(batch.network_multiplier)
            # of two processes, or one that accumulates two batches, the noise is the same
            moment = number * self._processes.count + self._processes.index
            seed = seed_of(self._seed, place.step, moment)
            loss = self._learner.loss(batch, seed)
            total += float(loss.detach()) / len(group)
            self._updates.take_in(loss)
        self._network.set_multiplier(1.0)
        (total,) = self._processes.mean([total])
        self._updates.apply(total)
        place.step += 1
        self._stop_if_no_numbers()
        self._loss = total

    def _stop_if_no_numbers(self) -> None:
        bad, place = self._updates.bad_in_a_row, self._place
        if bad >= MOST_BAD_LOSSES:
            if self._network.is_finite():  # as those steps changed nothing
                self._autosave_now()
            last = place.files[-1] if place.files else "none yet"
            raise TrainingError(
                f"The loss was no number in {bad} steps in a row (step {place.step}), "
                "so training was stopped.",
                "Most often the learning rate is too high; fp16 on cards of the 16xx series and "
                "bf16 on cards before the 30 series do it, too. Choose a lower rate or "
                f'mixed_precision "no". Last good file: {last}.',
            )

    # Behind a step, behind an epoch

    def _after_step(self, epoch: int) -> None:
        place, options = self._place, self._options
        average = self._losses.add(place.step, self._loss)
        place.losses = self._losses.losses
        speed = self._speed.tick()
        facts = StepFacts(
            epoch=epoch,
            epochs=self._length.epochs,
            step=place.step,
            steps=self._length.steps,
            loss=self._loss,
            average_loss=average,
            rates=self._updates.rates(),
            steps_per_second=speed,
            eta_seconds=(self._length.steps - place.step) / speed if speed else 0.0,
            **memory_facts(self._base.device),
        )
        self._watcher.stepped(facts)
        self._history.add(step_line(facts))
        self._log.step(facts)
        if place.step == self._began + RECENT_STEPS:
            self._warn_if_almost_full()
        if is_due(place.step, self._due.steps) and place.step < self._length.steps:
            self._save_and_tidy(step=place.step)
        by_step = None if options.sample_every_n_epochs else options.sample_every_n_steps
        if self._watcher.wants_samples() or is_due(place.step, by_step):
            self._sample(0, place.step)
        if is_due(place.step, options.validate_every_n_steps):
            self._validate(epoch)
        self._stop_if_asked()
        if self._processes.is_first:
            self._files.autosave_if_due()

    def _warn_if_almost_full(self) -> None:
        used, total = card_memory(self._base.device)
        if total and used > ALMOST_FULL * total:
            self._watcher.warn(
                f"The card's memory is almost full ({used / 2**30:.1f} of {total / 2**30:.1f} GB). "
                f"Some drivers slow down a hundred times then instead of failing. {NEEDS_LESS}"
            )

    def _after_epoch(self, epoch: int) -> None:
        options = self._options
        if is_due(epoch, self._due.epochs) and epoch < self._length.epochs:
            self._save_and_tidy(epoch=epoch)
        if is_due(epoch, options.sample_every_n_epochs):
            self._sample(epoch, self._place.step)
        every = options.validate_every_n_epochs or (0 if options.validate_every_n_steps else 1)
        if is_due(epoch, every):
            self._validate(epoch)

    def _sample(self, epoch: int, step: int) -> None:
        if self._paint is None or not self._processes.is_first:
            return
        self._watcher.stage("sampling", 0, 0)
        try:
            with self._updates.as_saved(), torch.no_grad():
                self._paint(epoch, step, self._network.set_multiplier)
        finally:
            self._network.set_multiplier(1.0)

    def _validate(self, epoch: int) -> None:
        """The loss of pictures that were kept back: it rises when a LoRA learns by heart."""
        most = self._options.max_validation_steps or None
        losses: list[float] = []
        chosen = self._options.validation_seed
        seed = self._seed if chosen is None else chosen
        with self._updates.as_saved():
            for number, batch in enumerate(self._dataset.validation()):
                if most is not None and number >= most:
                    break
                self._watcher.stage("validating", number, self._dataset.facts.validation_images)
                at = seed_of(seed, "held out", number)
                losses.append(self._learner.validation_loss(batch, at))
        if losses:
            loss, place = sum(losses) / len(losses), self._place
            train_loss = sum(place.losses) / max(1, len(place.losses))
            self._watcher.validated(epoch, place.step, loss, train_loss)
            self._log.validation(epoch, loss, train_loss)
            self._history.add(
                {"kind": "validation", "step": place.step, "epoch": epoch, "loss": loss}
            )

    def _stop_if_asked(self) -> None:
        if self._place.step >= self._length.steps:
            return
        wishes = (self._watcher.wants_pause(), self._watcher.wants_stop())
        wants_pause, wants_stop = self._processes.any(wishes)
        if wants_pause or wants_stop:
            raise _Ended(is_paused=wants_pause)

    # Files

    def _run_facts(self) -> RunFacts:
        if self._checkpoint is None:
            self._checkpoint = Hashes.of(self._base.path)
        return RunFacts(
            options=self._options,
            family=self._base.family,
            length=self._length,
            batches_per_epoch=self._dataset.facts.batches_per_epoch,
            processes=self._processes.count,
            dataset=self._dataset.facts.metadata,
            optimizer=self._updates.chosen.title,
            checkpoint=self._checkpoint,
            vae=self._vae,
            session=self._place.session,
            started_at=self._place.started_at,
        )

    def _save(self, stem: str, *, is_last: bool = False) -> None:
        """Write the LoRA as it is now, and a state if one belongs to it."""
        if not self._processes.is_first:
            return
        options, place = self._options, self._place
        self._watcher.stage("saving", 0, 0)
        epoch = min(place.epoch - (place.batch == 0 and place.epoch > 1), self._length.epochs)
        path = self._files.save(stem, epoch)
        self._watcher.saved(path, epoch, place.step, is_last)
        self._history.add({"kind": "file", "step": place.step, "epoch": epoch, "file": path.name})
        if options.save_state or (is_last and options.save_state_on_train_end):
            self._files.save_state(stem)

    def _save_and_tidy(self, *, epoch: int = 0, step: int = 0) -> None:
        """Write what is due behind an epoch or a step, and remove what had its time."""
        self._save(file_stem(self._options, epoch=epoch, step=step))
        if self._processes.is_first:
            self._files.remove_older(epoch=epoch, step=step)

    def _autosave_now(self) -> None:
        if self._processes.is_first:
            self._files.autosave()

    # Ends

    def _ended(self, end: _Ended) -> Outcome:
        self._autosave_now()
        if not end.is_paused:
            self._save(file_stem(self._options, step=self._place.step))
        outcome = self._outcome()
        return replace(
            outcome, is_paused=end.is_paused, is_stopped=not end.is_paused, state=self._autosave
        )

    def _outcome(self) -> Outcome:
        place = self._place
        loss = sum(place.losses) / len(place.losses) if place.losses else None
        return Outcome(tuple(map(Path, place.files)), place.step, place.epoch, loss, self._began)

    def _out_of_memory(self, err: BaseException) -> DeviceMemoryError:
        self._updates.forget()
        self._autosave_now()
        logger.warning("Out of memory at step %d: %s", self._place.step, err)
        return DeviceMemoryError(
            f"Memory ran out at step {self._place.step + 1}; the state up to there is kept.",
            NEEDS_LESS,
            path=str(self._autosave),
        )


def _groups_of(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """Batches that make one step; the last group of an epoch may be smaller."""
    group: list[Batch] = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
