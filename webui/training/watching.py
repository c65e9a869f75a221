"""What a training tells while it runs, and what it may be asked in between."""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

RECENT_STEPS: Final = 20
"""Over so many steps speed is measured."""
FLUSH_SECONDS: Final = 2.0
"""A step is in the history after so long at most, if another one follows: the curve is live."""


@dataclass(frozen=True)
class StepFacts:
    """One optimiser step; see README.md for what each is."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    average_loss: float
    rates: Mapping[str, float]
    steps_per_second: float = 0.0
    eta_seconds: float = 0.0
    memory_bytes: int = 0
    peak_memory_bytes: int = 0


class Watcher(Protocol):
    """Who waits for the training. Calls are cheap; callers need not throttle them."""

    def stage(self, name: str, done: int, total: int) -> None:
        """What is done now, and how far it is."""
        ...

    def stepped(self, facts: StepFacts) -> None:
        """A step was done."""
        ...

    def saved(self, path: Path, epoch: int, step: int, is_last: bool) -> None:
        """A LoRA was written."""
        ...

    def sampled(self, path: Path, epoch: int, step: int, index: int, prompt: str) -> None:
        """A sample picture was written."""
        ...

    def validated(self, epoch: int, step: int, loss: float, train_loss: float) -> None:
        """The loss of held-out pictures was measured."""
        ...

    def warn(self, message: str) -> None:
        """Something the person should know; the training goes on."""
        ...

    def wants_stop(self) -> bool:
        """True once the training shall end and keep what there is."""
        ...

    def wants_samples(self) -> bool:
        """True once for each wish to see sample pictures now."""
        ...

    def wants_pause(self) -> bool:
        """True once it shall write its state and give the device free."""
        ...


class Quiet:
    """Nobody watches: for tests and scripts."""

    def stage(self, name: str, done: int, total: int) -> None:
        return None

    def stepped(self, facts: StepFacts) -> None:
        return None

    def saved(self, path: Path, epoch: int, step: int, is_last: bool) -> None:
        return None

    def sampled(self, path: Path, epoch: int, step: int, index: int, prompt: str) -> None:
        return None

    def validated(self, epoch: int, step: int, loss: float, train_loss: float) -> None:
        return None

    def warn(self, message: str) -> None:
        return None

    def wants_stop(self) -> bool:
        return False

    def wants_samples(self) -> bool:
        return False

    def wants_pause(self) -> bool:
        return False


class CacheProgress:
    """Hands the progress of one stage on; see ``progress.Progress``."""

    def __init__(self, watcher: Watcher, stage: str) -> None:
        self._watcher, self._stage = watcher, stage

    def step(self, done: int, total: int) -> None:
        self._watcher.stage(self._stage, done, total)

    def is_interrupted(self) -> bool:
        return self._watcher.wants_stop() or self._watcher.wants_pause()


class Speed:
    """Steps per second over the last ones."""

    def __init__(self) -> None:
        self._moments: deque[float] = deque(maxlen=RECENT_STEPS + 1)

    def tick(self) -> float:
        """A step was done; 0 while it cannot be known."""
        self._moments.append(time.monotonic())
        passed = self._moments[-1] - self._moments[0]
        return (len(self._moments) - 1) / passed if passed > 0 else 0.0


@dataclass
class MeanLoss:
    """The mean over the last epoch's steps; each step's place holds its newest loss.

    Attributes:
        losses: Of the last ``size`` steps at most.
    """

    size: int
    losses: list[float] = field(default_factory=list[float])

    def add(self, step: int, loss: float) -> float:
        """Take the loss of a step (from 1); returns the mean."""
        place = (step - 1) % self.size
        if place < len(self.losses):
            self.losses[place] = loss
        else:
            self.losses.append(loss)
        return sum(self.losses) / len(self.losses)


class History:
    """The losses of a whole training as JSON lines, for a plot; see README.md.

    Args:
        path: Appended to; None = nothing is written.
        step: Of a resumed training: what is there from later steps goes.
    """

    def __init__(self, path: Path | None, step: int) -> None:
        self._path = path
        self._kept: list[str] = []
        self._flush_at = 0.0
        if path is None:
            return
        # a crash may have cut the last line inside of a letter
        lines = path.read_text("utf-8", "replace").splitlines() if path.is_file() else []
        kept = [line for line in lines if _step_of(line) <= step] if step else []
        if len(kept) != len(lines):
            self._keep_only(path, kept)

    @staticmethod
    def _keep_only(path: Path, lines: list[str]) -> None:
        """Write the file anew, in one move; on a full disk all lines stay."""
        part = path.with_name(f"{path.name}.part")
        with contextlib.suppress(OSError):
            part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            part.replace(path)
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)

    def add(self, facts: Mapping[str, Any]) -> None:
        """Add a line; a disk that is full costs the line, never the training."""
        if self._path is None:
            return
        self._kept.append(json.dumps(facts, ensure_ascii=False))
        if time.monotonic() >= self._flush_at or "kind" in facts:
            self.flush()

    def flush(self) -> None:
        """Write what is kept back."""
        self._flush_at = time.monotonic() + FLUSH_SECONDS
        if self._path is None:
            return
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in self._kept))
            self._kept.clear()
        except OSError:
            del self._kept[:-10_000]


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")


def step_line(facts: StepFacts) -> dict[str, Any]:
    """The part of a step that goes into the history."""
    wanted = ("step", "epoch", "loss", "average_loss", "rates")
    return {key: value for key, value in asdict(facts).items() if key in wanted}
