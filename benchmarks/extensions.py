"""What extensions cost: an empty one at each step, fifty of them at the start.

    python benchmarks/extensions.py

Both are ratios and differences within one run; see benchmarks/README.md for a quiet machine.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from webui.torch_setup import prepare_torch

prepare_torch()

import torch  # noqa: E402

from webui.model_process.extensions import Extensions, JobContext  # noqa: E402
from webui.options import Options  # noqa: E402
from webui.params import TextToImage  # noqa: E402
from webui.pipelines.moments import QUIET, Call, Moments  # noqa: E402
from webui.services.extensions.room import ExtensionRoom  # noqa: E402

EMPTY = """
from webui.hookspecs import hook

@hook
def before_step(latents, step, job):
    return None

@hook
def after_model(estimates, step, job):
    return None

@hook
def after_guidance(denoised, step, job):
    return None
"""
PANEL = """
from webui.hookspecs import Form, Number, hook

@hook
def forms():
    return [Form(fields=(Number(name="strength", infotext="Strength {number}"),))]
"""
COUNT, STEPS, ROUNDS = 50, 2000, 5
MOST_MS_A_STEP, MOST_SECONDS_AT_START = 0.1, 0.3


def room(folder: Path, name: str) -> ExtensionRoom:
    """The web process's extensions in a folder of their own."""
    return ExtensionRoom(
        built_in=None, folders=(folder / name,), options=Options(folder / "config.json"),
        notes=folder, models=(), data=folder,
    )  # fmt: skip


def seconds_at_start(folder: Path) -> float:
    """What fifty folders with a panel each add, files compiled as at every start but the first."""
    for number in range(COUNT):
        one = folder / "fifty" / f"panel_{number}"
        one.mkdir(parents=True)
        (one / "extension.toml").write_text("api = 1\n")
        (one / "web.py").write_text(PANEL.format(number=number))
    (folder / "none").mkdir()
    room(folder, "fifty").close()
    spent = {"none": [0.0], "fifty": [0.0]}
    for name, times in spent.items():
        times.clear()
        for _ in range(ROUNDS):
            began = time.perf_counter()
            made = room(folder, name)
            times.append(time.perf_counter() - began)
            made.close()
    return statistics.median(spent["fifty"]) - statistics.median(spent["none"])


def milliseconds_of_steps(moments: Moments) -> float:
    """Of one step's three moments, the median of some thousands."""
    latents = torch.zeros(1, 4, 64, 64)
    call = Call(0, 20, torch.ones(1))
    times: list[float] = []
    for _ in range(STEPS):
        began = time.perf_counter()
        moments.before_step(latents, call)
        moments.after_model((latents,), latents, call)
        moments.after_guidance(latents, call)
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def milliseconds_a_step(folder: Path) -> tuple[float, float]:
    """With one empty extension that joins all three moments of a step, and with none."""
    file = folder / "empty.py"
    file.write_text(EMPTY)
    facts = {
        "name": "empty", "path": str(file), "kind": "file", "model": str(file),
        "is_built_in": False, "prints": "1",
    }  # fmt: skip
    extensions = Extensions(folder / "worker.note", lambda message: None)
    context = JobContext(1, print, lambda: False, lambda done, total: None, {})
    params = TextToImage(extensions={"empty": {}})
    with extensions.job(params, {"extensions": {"wanted": [facts]}}, context) as joined:
        assert joined is not None
        found = milliseconds_of_steps(joined), milliseconds_of_steps(QUIET)
    extensions.close()
    return found


def main() -> int:
    """Print both figures; 1 when one is above what was promised."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        with_one, without = milliseconds_a_step(folder)
        start = seconds_at_start(folder)
    print(f"an empty extension:  {with_one:.4f} ms a step (none: {without:.4f}; "
          f"at most {MOST_MS_A_STEP})")  # fmt: skip
    print(f"{COUNT} extensions add {start:.3f} s to the start (at most {MOST_SECONDS_AT_START})")
    return int(with_one > MOST_MS_A_STEP or start > MOST_SECONDS_AT_START)


if __name__ == "__main__":
    sys.exit(main())
