"""``python launch.py train``: a training from the command line, with kohya's words.

``--num_processes 2`` runs it on two cards; so does
``accelerate launch --multi_gpu --num_processes=2 -m webui.train_command …``.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from webui.errors import DatasetError, JobCancelled, ParamsError, WebUIError
from webui.model_process.train_processes import (
    check_devices,
    process_count,
    train_side_by_side,
)
from webui.params import TrainLora
from webui.training.config import (
    read_arguments,
    read_command_line,
    read_options,
    write_toml,
)
from webui.training.steps import file_stem
from webui.training.watching import Quiet, StepFacts

USAGE = """\
python launch.py train --config_file my.toml [--name value …]

Every option of kohya's train_network.py, in the file or here; what stands here wins.
  --config_file FILE     flat TOML; section headings carry no meaning
  --output_config        with --config_file: write the options there and stop
  --device WHICH         cuda, cpu, mps, xpu (default: the best there is)
  --num_processes N      train on so many devices together; the batch size is that of each
  --resume FOLDER        go on from a state
Ctrl+C once ends after the present step and keeps what there is; --resume goes on from there.
"""


class Printer(Quiet):
    """Tells the terminal."""

    def __init__(self) -> None:
        self._stage = ""
        self._is_stopped = False
        self._line_at = 0.0

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Ctrl+C: end after the present step; a second one ends at once."""
        if self._is_stopped:
            raise KeyboardInterrupt
        self._is_stopped = True
        print("\nStopping after this step …", flush=True)

    def stage(self, name: str, done: int, total: int) -> None:
        if name != self._stage:
            self._stage = name
            print(f"{name} …", flush=True)

    def stepped(self, facts: StepFacts) -> None:
        self._stage = "training"
        now = time.monotonic()
        if now - self._line_at < 1 and facts.step < facts.steps:
            return
        self._line_at = now
        print(
            f"epoch {facts.epoch}/{facts.epochs}, step {facts.step}/{facts.steps}, "
            f"loss {facts.average_loss:.4f}, {facts.steps_per_second:.2f} steps/s, "
            f"{facts.eta_seconds / 60:.1f} min left",
            flush=True,
        )

    def saved(self, path: Path, epoch: int, step: int, is_last: bool) -> None:
        print(f"saved {path}", flush=True)

    def validated(self, epoch: int, step: int, loss: float, train_loss: float) -> None:
        print(f"held-out loss {loss:.4f} (training {train_loss:.4f})", flush=True)

    def warn(self, message: str) -> None:
        print(f"Note: {message}", flush=True)

    def wants_stop(self) -> bool:
        return self._is_stopped


class Follower(Quiet):
    """One of several processes that is not the first: says nothing, and heeds Ctrl+C all the same.

    Args:
        printer: Is told of Ctrl+C.
    """

    def __init__(self, printer: Printer) -> None:
        self._printer = printer

    def wants_stop(self) -> bool:
        return self._printer.wants_stop()


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 2 = the options are wrong, 1 = it failed."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or "-h" in words or "--help" in words:
        print(USAGE)
        return 0
    logging.basicConfig(level=logging.WARNING)
    try:
        return _run(words)
    except (ParamsError, DatasetError) as err:
        if _is_first():  # all processes find the same
            print(err, file=sys.stderr)
        return 2
    except JobCancelled:
        return 130
    except WebUIError as err:
        print(f"{err}", file=sys.stderr)
        return 1


def _run(words: list[str]) -> int:
    own = read_arguments(words)
    device = str(own.pop("device", ""))
    asked = str(own.pop("num_processes", ""))
    if own.pop("output_config", None):
        return _write_config(Path(str(own.pop("config_file", ""))), read_options(own).options)
    if asked:
        return train_side_by_side(_without(words, "num_processes"), process_count(asked))
    reading = read_command_line(_without(words, "device"))
    printer = Printer()
    for sentence in reading.notices if _is_first() else ():
        printer.warn(sentence)
    params = TrainLora(options=reading.options)
    if not params.options.output_dir:
        raise ParamsError("output_dir: say where the LoRA shall be written.", field="output_dir")
    return _train(params, device, printer)


def _is_first() -> bool:
    """Whether this process speaks for those that train together."""
    return os.environ.get("RANK", "0") == "0"


def _without(words: list[str], name: str) -> list[str]:
    """The words without an option and its value."""
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == f"--{name}":
            next(rest, None)
        elif not word.startswith(f"--{name}="):
            kept.append(word)
    return kept


def _write_config(path: Path, options: Any) -> int:
    path = path if path.suffix else path.with_suffix(".toml")
    if path.exists():
        raise ParamsError(
            f'output_config: "{path}" exists and is not overwritten.', field="config_file"
        )
    path.write_text(write_toml(options), encoding="utf-8")
    print(f"The options are in {path}.")
    return 0


def check_unfinished(autosave: Path, resume: str) -> None:
    """Nobody goes on from the state of a crash or a stop without having asked for it."""
    from webui.training.state import state_in

    found = state_in(autosave)
    if found is None or (resume and Path(resume).resolve() == found.resolve()):
        return
    raise ParamsError(
        f'resume: a training of this name was not finished; its state is in "{found}".',
        f'Add --resume "{found}" to go on, or remove that folder to begin anew.',
        field="resume",
    )


def _train(params: TrainLora, device: str, printer: Printer) -> int:
    from webui.torch_setup import prepare_torch  # the imports that take seconds begin here

    prepare_torch()
    from webui.checkpoints.precision import choose_device
    from webui.model_process.train_run import TrainFiles, train
    from webui.training.processes import Processes

    chosen = choose_device(device)
    check_devices(chosen.type)
    processes = Processes(chosen)
    params = processes.of_first(params.with_seed())
    options = params.options
    folder = Path(options.output_dir)
    autosave = folder / f"{file_stem(options)}-autosave"
    check_unfinished(autosave, options.resume)
    signal.signal(signal.SIGINT, printer.stop)
    watcher = printer if processes.is_first else Follower(printer)
    files = TrainFiles(
        Path(options.pretrained_model_name_or_path), folder, autosave, folder / "latents",
        None, Path(options.vae) if options.vae else None,
    )  # fmt: skip
    outcome = train(params, files, watcher, processes.device).outcome
    if outcome.is_stopped and processes.is_first:
        print(f'Stopped at step {outcome.step}. Go on with --resume "{outcome.state}".')
    return 130 if outcome.is_stopped else 0


if __name__ == "__main__":
    sys.exit(main())
