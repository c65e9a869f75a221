"""What a LoRA file tells of the pictures it was made from (section 4.4); no torch, no paths."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from webui.training.captions import count_tags
from webui.training.dataset_entries import Entry
from webui.training.dataset_plan import DatasetPlan, PicturePlan


def metadata(plan: PicturePlan, *, has_tags: bool = True) -> dict[str, str]:
    """Keys of the file that follow from the pictures; every value is text.

    Args:
        has_tags: Tell which tags occur how often.
    """
    facts = {
        "ss_num_train_images": str(plan.count(is_reg=False)),
        "ss_num_reg_images": str(plan.count(is_reg=True)),
        "ss_num_validation_images": str(sum(len(d.validation) for d in plan.datasets)),
        "ss_num_batches_per_epoch": str(plan.batches_per_epoch),
    }
    if len(plan.datasets) > 1:
        told = [_dataset(dataset, has_tags) for dataset in plan.datasets]
        return {**facts, "ss_datasets": _json(told)}
    dataset = next(iter(plan.datasets))
    facts |= {
        "ss_batch_size_per_device": str(dataset.options.batch_size),
        "ss_resolution": str(tuple(dataset.options.resolution)),
        "ss_bucket_info": _json(bucket_info(dataset)),
        "ss_dataset_dirs": _json(_folders(dataset, is_reg=False)),
        "ss_reg_dataset_dirs": _json(_folders(dataset, is_reg=True)),
    }
    for name in ("enable_bucket", "bucket_no_upscale", "min_bucket_reso", "max_bucket_reso"):
        facts[f"ss_{name}"] = str(getattr(dataset.options, name))
    if has_tags:
        facts["ss_tag_frequency"] = _json(tag_frequency(dataset))
    return facts


def bucket_info(dataset: DatasetPlan) -> dict[str, Any]:
    """Sizes with their counts, and how far pictures are from them."""
    samples = dataset.samples().items()
    errors = [abs(entry.fit.ratio_error) for entry in dataset.entries]
    return {
        "buckets": {
            str(at): {"resolution": list(size), "count": count}
            for at, (size, count) in enumerate(samples)
        },
        "mean_img_ar_error": sum(errors) / len(errors) if errors else 0.0,
    }


def tag_frequency(dataset: DatasetPlan) -> dict[str, dict[str, int]]:
    """Folder → tag → pictures that have it; repeats do not count."""
    return {
        name: dict(count_tags(entry.caption for entry in entries))
        for name, entries in _by_folder(dataset.entries)
    }


def _folders(dataset: DatasetPlan, *, is_reg: bool) -> dict[str, dict[str, int]]:
    entries = (entry for entry in dataset.entries if entry.subset.is_reg == is_reg)
    return {
        name: {"n_repeats": inside[0].subset.num_repeats, "img_count": len(inside)}
        for name, inside in _by_folder(entries)
    }


def _by_folder(entries: Iterable[Entry]) -> list[tuple[str, list[Entry]]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        name = Path(entry.subset.image_dir or entry.subset.metadata_file).name
        found.setdefault(name, []).append(entry)
    return list(found.items())


def _dataset(dataset: DatasetPlan, has_tags: bool) -> dict[str, Any]:
    options = dataset.options
    subsets = [
        {
            "img_count": sum(entry.subset == subset for entry in dataset.entries),
            "image_dir": Path(subset.image_dir).name,
            "metadata_file": Path(subset.metadata_file).name,
            **{name: getattr(subset, name) for name in _SUBSET_FACTS},
        }
        for subset in options.subsets
    ]
    return {
        "is_dreambooth": not options.subsets[0].metadata_file,
        "batch_size_per_device": options.batch_size,
        "num_train_images": sum(e.repeats for e in dataset.entries if not e.subset.is_reg),
        "num_reg_images": sum(e.repeats for e in dataset.entries if e.subset.is_reg),
        "resolution": list(options.resolution),
        "enable_bucket": options.enable_bucket,
        "min_bucket_reso": options.min_bucket_reso,
        "max_bucket_reso": options.max_bucket_reso,
        "bucket_info": bucket_info(dataset),
        "tag_frequency": tag_frequency(dataset) if has_tags else {},
        "subsets": subsets,
    }


_SUBSET_FACTS = (
    "num_repeats", "class_tokens", "is_reg", "flip_aug", "color_aug", "random_crop", "keep_tokens",
    "shuffle_caption", "caption_dropout_rate", "caption_tag_dropout_rate",
)  # fmt: skip


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
