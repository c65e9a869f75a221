"""Everything a weights file says of itself; no torch, and nothing in it is run."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from webui.checkpoints.catalog import Catalog, Record
from webui.checkpoints.headers import Header, TensorInfo, read_header
from webui.checkpoints.rules import describe
from webui.errors import CheckpointError


@dataclass(frozen=True)
class FileReport:
    """What is known of one file.

    Attributes:
        record: As it stands in the catalog, with its hash where it was asked for.
        format: ``safetensors``, ``torch`` …, ``diffusers``; '' when it cannot be read.
        title: What it is, in words.
        formats: Number format → how many numbers are stored in it.
        tensors: By name, as in the file.
        metadata: As in the file; empty for formats without any.
        problem, hint: Why it cannot be read, and what to do; '' when it can.
        wishes: What a refused pickle wanted; see ``pickle_wishes``.
    """

    record: Record
    format: str = ""
    title: str = ""
    formats: Mapping[str, int] = field(default_factory=dict[str, int])
    tensors: Mapping[str, TensorInfo] = field(default_factory=dict[str, TensorInfo])
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    problem: str = ""
    hint: str = ""
    wishes: tuple[Mapping[str, str], ...] = ()

    @property
    def numbers(self) -> int:
        """How many numbers (parameters) it holds."""
        return sum(self.formats.values())


def report_on(
    record: Record,
    catalog: Catalog,
    *,
    has_hashes: bool,
    should_stop: Callable[[], bool] | None = None,
) -> FileReport:
    """Look into a file.

    Args:
        has_hashes: Work out its hash where it is not known; a large file takes a while.
    Raises:
        JobCancelled: ``should_stop`` answered True.
    """
    if has_hashes and not record.path.is_dir():
        record = catalog.hash_now(record, should_stop)
    record = catalog.inspected(record)
    if record.path.is_dir():
        return FileReport(record, "diffusers", record.contents, problem=record.problem)
    try:
        header = read_header(record.path)
    except CheckpointError as err:
        wishes = tuple(err.details.get("wishes", ()))
        return FileReport(record, problem=err.message, hint=err.hint, wishes=wishes)
    return FileReport(
        record,
        header.format,
        describe(header).title,
        _formats(header),
        header.tensors,
        header.metadata,
        problem=record.problem,
    )


def _formats(header: Header) -> dict[str, int]:
    counts: collections.Counter[str] = collections.Counter()
    for info in header.tensors.values():
        counts[info.dtype] += info.count
    return dict(counts.most_common())
