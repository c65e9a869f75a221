"""The pictures of a training as the loop asks for them; see ``batch.Dataset``.

What is random in an epoch, a picture or a caption follows from (seed, epoch, place), so neither the
number of workers nor a resume changes anything.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from webui.params.training import TrainingOptions
from webui.params.training_data import Captioning, DatasetOptions
from webui.progress import Progress, stop_if_interrupted
from webui.training import dataset_latents
from webui.training.batch import Batch, DatasetFacts, Encode, Plan
from webui.training.buckets import Size
from webui.training.captions import Moment, can_be_dropped, caption_for, varies
from webui.training.dataset_entries import Entry
from webui.training.dataset_latents import Latents
from webui.training.dataset_metadata import metadata
from webui.training.dataset_pixels import Sample, crop_corner, is_flipped, prepare
from webui.training.dataset_plan import DatasetPlan, PicturePlan, make_plan
from webui.training.notices import Notice
from webui.training.text_cache import TextCache

AHEAD = 3
"""Batches that are read while one is learnt."""
_STILL = {
    "shuffle_caption": False, "caption_dropout_rate": 0.0, "caption_dropout_every_n_epochs": 0,
    "caption_tag_dropout_rate": 0.0, "token_warmup_step": 0.0, "enable_wildcard": False,
}  # fmt: skip
"""Caption rules without anything that varies, for validation."""


@dataclass(frozen=True)
class _Use:
    """One use of a picture: which it is, and its place among all uses of an epoch."""

    entry: int
    place: int


@dataclass(frozen=True)
class _Chosen:
    """A batch before it is read."""

    dataset: DatasetPlan
    uses: tuple[_Use, ...]


def open_dataset(
    options: TrainingOptions,
    datasets: Sequence[DatasetOptions],
    seed: int,
    *,
    cache_folder: Path | None = None,
) -> PictureDataset:
    """Look at all pictures and captions, and make ready to hand them out.

    Args:
        options: Flat options. datasets: Take the place of the folders they name.
        cache_folder: Where latents are kept on disk; None = in ``output_dir``.
    Raises:
        ParamsError, DatasetError: As ``dataset_plan.make_plan``.
    """
    plan = make_plan(options, datasets, seed=seed)
    folder = cache_folder or Path(options.output_dir or ".") / "latents"
    return PictureDataset(plan, options, seed, folder)


class PictureDataset:
    """See ``batch.Dataset``.

    Args:
        plan: The pictures. cache_folder: For ``cache_latents_to_disk``.

    Attributes:
        plan: As given.
    """

    def __init__(
        self, plan: PicturePlan, options: TrainingOptions, seed: int, cache_folder: Path
    ) -> None:
        self.plan = plan
        self._options = options
        self._seed = random.Random(seed).randrange(2**31)
        self._cache_folder = cache_folder
        self._entries: list[Entry] = []
        self._spans: list[tuple[DatasetPlan, range, range]] = []
        for dataset in plan.datasets:
            trained = self._take(dataset.entries)
            self._spans.append((dataset, trained, self._take(dataset.validation)))
        self._latents: dict[int, Latents] = {}
        asked_for = {"folder_is_subset"} if options.repeats else set[str]()
        self._warnings = [str(notice) for notice in plan.notices if notice.code not in asked_for]
        self._warnings += [err.message for err in plan.broken]

    def _take(self, entries: Sequence[Entry]) -> range:
        first = len(self._entries)
        self._entries += entries
        return range(first, len(self._entries))

    @property
    def facts(self) -> DatasetFacts:
        """See ``batch.Dataset``."""
        return DatasetFacts(
            batches_per_epoch=self.plan.batches_per_epoch,
            train_images=self.plan.count(is_reg=False),
            reg_images=self.plan.count(is_reg=True),
            validation_images=sum(len(dataset.validation) for dataset in self.plan.datasets),
            metadata=metadata(self.plan, has_tags=self._options.has_tag_frequency),
            warnings=tuple(self._warnings),
        )

    def state(self) -> dict[str, Any]:
        """See ``batch.Dataset``."""
        told = [
            (e.photograph.path.name, e.photograph.size, e.fit.bucket, e.repeats, e.subset.is_reg)
            for e in self._entries
        ]
        return {
            "pictures": len(self._entries),
            "pictures_hash": hashlib.sha256(repr(told).encode()).hexdigest()[:16],
            "batch_sizes": [dataset.options.batch_size for dataset in self.plan.datasets],
            "seed": self._seed,
        }

    def captions(self) -> frozenset[str] | None:
        """See ``batch.Dataset``."""
        if any(varies(entry.subset) for entry in self._entries):
            return None
        drops = any(can_be_dropped(entry.subset) for entry in self._entries)
        return frozenset(map(_still_caption, self._entries)) | ({""} if drops else set())

    def text_cache(self, encoders: str) -> TextCache:
        """See ``batch.Dataset``."""
        stems = {_still_caption(e): e.photograph.path.stem for e in reversed(self._entries)}
        return TextCache(self._cache_folder.with_name("texts"), encoders, stems)

    # Latents

    def cache_latents(self, encode: Encode, vae_key: str, progress: Progress) -> None:
        """See ``batch.Dataset``."""
        keeps = self._options.cache_latents_to_disk
        is_sdxl = self._options.model_train_type == "sdxl-lora"
        missing: dict[Size, list[int]] = defaultdict(list)
        foreign = 0
        for index, entry in enumerate(self._entries):
            found = None
            if keeps:
                file = dataset_latents.cache_file(self._cache_folder, entry, vae_key, is_sdxl)
                found = dataset_latents.read_file(file, entry)
                if found is None:
                    found = dataset_latents.read_kohyas(entry, is_sdxl)
                    foreign += found is not None
            if found is None:
                missing[entry.fit.bucket].append(index)
            else:
                self._latents[index] = found
        if foreign:
            notice = Notice("latents_of_another_program", {"count": foreign})
            self._warnings.append(str(notice))
        self._encode(missing, encode, vae_key if keeps else None, is_sdxl, progress)

    def _encode(
        self,
        missing: dict[Size, list[int]],
        encode: Encode,
        vae_key: str | None,
        is_sdxl: bool,
        progress: Progress,
    ) -> None:
        total, done = len(self._entries), len(self._latents)
        progress.step(done, total)
        at_once = self._options.vae_batch_size
        for indexes in missing.values():
            for first in range(0, len(indexes), at_once):
                stop_if_interrupted(progress)
                part = indexes[first : first + at_once]
                for index, latents in zip(part, self._encoded(part, encode), strict=True):
                    self._latents[index] = latents
                    if vae_key is not None:
                        entry = self._entries[index]
                        file = dataset_latents.cache_file(
                            self._cache_folder, entry, vae_key, is_sdxl
                        )
                        dataset_latents.write_file(file, entry, latents)
                done += len(part)
                progress.step(done, total)

    def _encoded(self, indexes: list[int], encode: Encode) -> list[Latents]:
        entries = [self._entries[index] for index in indexes]
        samples = [prepare(entry) for entry in entries]  # says what is wrong with a file
        seeds = [dataset_latents.content_seed(entry.photograph.path) for entry in entries]
        plain = encode(_images(samples), seeds)
        flipped: Tensor | None = None
        if any(entry.subset.flip_aug for entry in entries):
            flipped = encode(_images(samples).flip(3), seeds)
        return [
            Latents(
                plain[at].clone(),
                flipped[at].clone() if flipped is not None and entry.subset.flip_aug else None,
                None if sample.mask is None else torch.from_numpy(sample.mask),
            )
            for at, (entry, sample) in enumerate(zip(entries, samples, strict=True))
        ]

    # Batches

    def batches(self, epoch: int, plan: Plan, *, skip: int = 0) -> Iterator[Batch]:
        """See ``batch.Dataset``."""
        chosen = self._order(epoch)
        of_each = -(-len(chosen) // plan.processes)  # every process has as many
        shares = islice(cycle(chosen), plan.process, of_each * plan.processes, plan.processes)
        mine = list(enumerate(shares))[skip:]

        def load(pair: tuple[int, _Chosen]) -> Batch:
            at, one = pair
            moment = Moment(epoch, plan.step(epoch, at), plan.total_steps)
            return self._load(one, moment)

        workers = self._workers()
        if not workers:
            yield from map(load, mine)
            return
        with ThreadPoolExecutor(workers, thread_name_prefix="pictures") as pool:
            ahead = deque(pool.submit(load, pair) for pair in mine[:AHEAD])
            try:
                for pair in mine[AHEAD:]:
                    batch = ahead.popleft().result()
                    ahead.append(pool.submit(load, pair))
                    yield batch
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()

    def _workers(self) -> int:
        """Threads that read ahead; what lies in memory needs none."""
        if self._latents:
            return 0
        return min(self._options.max_data_loader_n_workers, AHEAD, os.cpu_count() or 1)

    def _order(self, epoch: int) -> list[_Chosen]:
        draw = random.Random(self._seed + epoch)
        chosen: list[_Chosen] = []
        place = 0
        for dataset, trained, _ in self._spans:
            uses: dict[Size, list[_Use]] = defaultdict(list)
            for index in trained:
                entry = self._entries[index]
                for _ in range(entry.repeats):
                    uses[entry.fit.bucket].append(_Use(index, place))
                    place += 1
            for bucket in sorted(uses):
                draw.shuffle(uses[bucket])
                chosen += _cut_up(dataset, uses[bucket])
        draw.shuffle(chosen)
        return chosen

    def validation(self) -> Iterator[Batch]:
        """See ``batch.Dataset``."""
        for dataset, _, kept_back in self._spans:
            uses: dict[Size, list[_Use]] = defaultdict(list)
            for index in kept_back:
                uses[self._entries[index].fit.bucket].append(_Use(index, 0))
            for bucket in sorted(uses):
                for chosen in _cut_up(dataset, uses[bucket]):
                    yield self._load(chosen, None)

    def _load(self, chosen: _Chosen, moment: Moment | None) -> Batch:
        """Read a batch; without a moment nothing in it varies."""
        entries = [self._entries[use.entry] for use in chosen.uses]
        draws = [self._draw(use, moment) for use in chosen.uses]
        flips = [
            moment is not None and is_flipped(entry.subset, draw)
            for entry, draw in zip(entries, draws, strict=True)
        ]
        captions = tuple(
            _still_caption(entry)
            if moment is None
            else caption_for(entry.caption, entry.subset, draw, moment)
            for entry, draw in zip(entries, draws, strict=True)
        )
        size = entries[0].fit.bucket
        images, latents = None, None
        if self._latents:
            kept = [self._latents[use.entry] for use in chosen.uses]
            latents = torch.stack([_side(one, flip) for one, flip in zip(kept, flips, strict=True)])
            masks = [_turned(one.mask, flip) for one, flip in zip(kept, flips, strict=True)]
        else:
            samples = [
                prepare(entry, None if moment is None else draw, is_flipped=flip)
                for entry, draw, flip in zip(entries, draws, flips, strict=True)
            ]
            images = _images(samples)
            masks = [None if s.mask is None else torch.from_numpy(s.mask) for s in samples]
        weight = self._options.prior_loss_weight
        return Batch(
            captions=captions,
            loss_weights=tuple(weight if e.subset.is_reg else 1.0 for e in entries),
            size=size,
            original_sizes=tuple(entry.photograph.size for entry in entries),
            crops=tuple(crop_corner(e, flip) for e, flip in zip(entries, flips, strict=True)),
            images=images,
            latents=latents,
            masks=_masks(masks, size),
            network_multiplier=chosen.dataset.options.network_multiplier,
        )

    def _draw(self, use: _Use, moment: Moment | None) -> random.Random:
        return random.Random(f"{self._seed}/{moment.epoch if moment else 0}/{use.place}")


def _cut_up(dataset: DatasetPlan, uses: list[_Use]) -> list[_Chosen]:
    size = dataset.options.batch_size
    return [
        _Chosen(dataset, tuple(uses[first : first + size])) for first in range(0, len(uses), size)
    ]


def _still_caption(entry: Entry) -> str:
    rule = Captioning.model_validate(
        {name: getattr(entry.subset, name) for name in Captioning.model_fields} | _STILL
    )
    return caption_for(entry.caption, rule, random.Random(0))


def _images(samples: Sequence[Sample]) -> Tensor:
    stacked = torch.from_numpy(np.stack([sample.pixels for sample in samples]))  # (B, H, W, 3)
    return stacked.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1)


def _side(latents: Latents, flip: bool) -> Tensor:
    return latents.flipped if flip and latents.flipped is not None else latents.plain


def _turned(mask: Tensor | None, flip: bool) -> Tensor | None:
    return mask.flip(1) if mask is not None and flip else mask


def _masks(masks: Sequence[Tensor | None], size: Size) -> Tensor | None:
    if all(mask is None for mask in masks):
        return None
    width, height = size
    whole = torch.full((height, width), 255, dtype=torch.uint8)
    stacked = torch.stack([whole if mask is None else mask for mask in masks])
    return stacked.to(torch.float32).div_(255).unsqueeze(1)  # (B, 1, H, W)
