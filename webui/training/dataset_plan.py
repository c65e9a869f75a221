"""Which pictures a training uses, how often, at which size and with which words; no torch.

The page shows it before anything is started, and training follows it: one plan, built one way.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from webui.errors import DatasetError, ParamsError
from webui.params.training import TrainingOptions
from webui.params.training_data import DatasetOptions
from webui.training import buckets
from webui.training.buckets import Size
from webui.training.dataset_entries import Entry, Findings, read_entries
from webui.training.dataset_folders import find_datasets
from webui.training.notices import Notice, first_names


@dataclass(frozen=True)
class DatasetPlan:
    """Pictures that are batched together.

    Attributes:
        options: With limits of buckets as they are used.
        entries: What is trained, regularisation pictures last.
        validation: What is kept back.
    """

    options: DatasetOptions
    entries: tuple[Entry, ...]
    validation: tuple[Entry, ...] = ()

    def samples(self) -> dict[Size, int]:
        """Pictures with repeats in each bucket, by size."""
        counts: Counter[Size] = Counter()
        for entry in self.entries:
            counts[entry.fit.bucket] += entry.repeats
        return dict(sorted(counts.items()))

    @property
    def batches(self) -> int:
        """Of one epoch."""
        return buckets.count_batches(self.samples(), self.options.batch_size)


@dataclass(frozen=True)
class PicturePlan:
    """All pictures of a training.

    Attributes:
        broken: What cannot be used, where that does not stop the training.
        notices: What the person should know.
    """

    datasets: tuple[DatasetPlan, ...]
    broken: tuple[DatasetError, ...] = ()
    notices: tuple[Notice, ...] = ()

    @property
    def batches_per_epoch(self) -> int:
        return sum(dataset.batches for dataset in self.datasets)

    def entries(self) -> Iterator[Entry]:
        """All that are trained."""
        for dataset in self.datasets:
            yield from dataset.entries

    def all_entries(self) -> Iterator[Entry]:
        """All that are trained, and those that are kept back."""
        yield from self.entries()
        for dataset in self.datasets:
            yield from dataset.validation

    def count(self, *, is_reg: bool) -> int:
        """Training or regularisation pictures, with repeats."""
        return sum(e.repeats for e in self.entries() if e.subset.is_reg == is_reg)


def family_of(options: TrainingOptions) -> str:
    """``sd1`` where the options say so; else ``sdxl``, whose sizes include those of the others."""
    return "sd1" if options.model_train_type == "sd-lora" else "sdxl"


def make_plan(
    options: TrainingOptions,
    datasets: Sequence[DatasetOptions] = (),
    *,
    seed: int = 0,
    goes_on: bool = False,
) -> PicturePlan:
    """Look at all folders, captions and picture heads.

    Args:
        options: Flat options. datasets: Take the place of the folders they name.
        seed: Of the training; decides which pictures are kept back for validation.
        goes_on: For a look beforehand: what is broken is listed and left out.
    Raises:
        ParamsError: Folders or sizes that cannot be used (``field``).
        DatasetError: A file that cannot be used (``file``), unless ``goes_on`` or ``skip_broken``.
    """
    found = Findings(goes_on)
    if not datasets:
        datasets, said = find_datasets(options)
        found.notices += said
    plans = tuple(_plan_dataset(dataset, options, seed, found) for dataset in datasets)
    found.stop_if_fatal()
    if not any(plan.entries for plan in plans):
        raise ParamsError("There is no picture to train on.", field="train_data_dir")
    _say_alpha(plans, found)
    return PicturePlan(plans, tuple(found.broken), tuple(found.notices))


def _plan_dataset(
    dataset: DatasetOptions, options: TrainingOptions, seed: int, found: Findings
) -> DatasetPlan:
    rule, said = buckets.check(dataset, family_of(options))
    assert isinstance(rule, DatasetOptions), "check keeps the class"
    for sentence in said:
        found.say("bucket_adjusted", sentence=sentence)
    entries: list[Entry] = []
    validation: list[Entry] = []
    seen: set[tuple[str, str]] = set()
    for subset in rule.subsets:
        key = subset.image_dir, subset.metadata_file
        if key in seen:
            found.say("folder_twice", folder=subset.image_dir or subset.metadata_file)
            continue
        seen.add(key)
        own = read_entries(subset, rule, found)
        if not subset.is_reg:
            own, kept_back = _split(own, rule, seed)
            validation += kept_back
        entries += own
    entries = _balanced(entries, found)
    plan = DatasetPlan(rule, tuple(entries), tuple(validation))
    _say_short_buckets(plan, found)
    return plan


def _split(
    entries: list[Entry], rule: DatasetOptions, seed: int
) -> tuple[list[Entry], list[Entry]]:
    """Pictures to train on, and those kept back for validation."""
    if not rule.validation_split:
        return entries, []
    mixed = list(entries)
    chosen = rule.validation_seed if rule.validation_seed is not None else seed
    random.Random(chosen).shuffle(mixed)
    kept = math.ceil(len(mixed) * (1 - rule.validation_split))
    return sorted(mixed[:kept], key=_path), sorted(mixed[kept:], key=_path)


def _path(entry: Entry) -> str:
    return str(entry.photograph.path)


def _balanced(entries: list[Entry], found: Findings) -> list[Entry]:
    """Repeats of regularisation pictures, so that they are as many as the others."""
    wanted = sum(entry.repeats for entry in entries if not entry.subset.is_reg)
    reg = [entry for entry in entries if entry.subset.is_reg]
    if not reg:
        return entries
    repeats = balanced_repeats([entry.repeats for entry in reg], wanted)
    pairs = zip(reg, repeats, strict=True)
    used = [dataclasses.replace(entry, repeats=count) for entry, count in pairs if count]
    if len(used) < len(reg):
        found.say("reg_unused", unused=len(reg) - len(used), count=len(reg))
    total = sum(entry.repeats for entry in used)
    if wanted:
        found.say("reg_doubles", count=total, times=f"{(wanted + total) / wanted:.2g}")
    return [*(entry for entry in entries if not entry.subset.is_reg), *used]


def balanced_repeats(repeats: Sequence[int], wanted: int) -> list[int]:
    """Repeats of regularisation pictures that add up to what is wanted or just over it.

    In order, each gives its own repeats until that is reached; if it is not, one more each, again
    and again.
    """
    given, total = [0] * len(repeats), 0
    is_first = True
    while total < wanted and any(repeats):
        for at, own in enumerate(repeats):
            more = own if is_first else 1
            given[at] += more
            total += more
            if total >= wanted:
                break
        is_first = False
    return given


def _say_short_buckets(plan: DatasetPlan, found: Findings) -> None:
    size = plan.options.batch_size
    for bucket, count in plan.samples().items():
        if count < size:
            names = [e.photograph.path.name for e in plan.entries if e.fit.bucket == bucket]
            found.say(
                "bucket_small", width=bucket[0], height=bucket[1], count=count, batch_size=size,
                first=first_names(names, 3),
            )  # fmt: skip


def _say_alpha(plans: Iterable[DatasetPlan], found: Findings) -> None:
    def is_lost(entry: Entry) -> bool:
        return entry.photograph.has_alpha and not entry.subset.alpha_mask

    names = _names(plans, is_lost)
    if names:
        found.say("alpha_dropped", count=len(names), first=first_names(names))


def _names(plans: Iterable[DatasetPlan], is_meant: Callable[[Entry], bool]) -> list[str]:
    return [e.photograph.path.name for plan in plans for e in plan.entries if is_meant(e)]
