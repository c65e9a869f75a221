"""Says what is in order on this machine, what is not, and what to do about it.

``python launch.py doctor`` runs this with .venv's Python, or, when .venv is broken, with the
Python at hand. So nothing that pip installs is imported at the top, and torch only ever in a
process of its own.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from webui.errors import SettingsError
from webui.launcher.environment import REQUIREMENTS, ROOT, Venv, check_writable
from webui.launcher.machine import Machine, probe_machine
from webui.launcher.words import LaunchError, tell
from webui.settings import Settings, read_settings

State = Literal["ok", "warning", "problem"]
MARKS = {"ok": "[ok]", "warning": "[! ]", "problem": "[X ]"}
LITTLE_MEMORY_BYTES = 4e9
LITTLE_DISK_BYTES = 2e9
NO_DISK_BYTES = 2e8
TORCH_SECONDS = 180
INSTALL = "Start the program once: python launch.py"
# Source: CLIP's own tokenizer.
KNOWN_TEXT, KNOWN_TOKENS = "a photo of a cat", [320, 1125, 539, 320, 2368]

# A child process tells what torch can do here; its last line of output is JSON.
TORCH_PROBE = """
import json, sys
from webui.torch_setup import prepare_torch
prepare_torch()
import torch
facts = {"version": torch.__version__, "threads": torch.get_num_threads(), "cards": []}
device = "cpu"
if torch.cuda.is_available():
    device = "cuda"
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        facts["cards"].append([card.name, card.total_memory])
elif torch.backends.mps.is_available():
    device = "mps"
ones = torch.ones(1, 4, 8, 8, device=device)
answer = torch.nn.functional.conv2d(ones, torch.ones(1, 4, 3, 3, device=device))
assert answer.mean().item() == 36, "a convolution gave a wrong result"
facts["device"] = device
print(json.dumps(facts))
"""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: Stable English word, also in the JSON.
        state: ``problem`` means that the program cannot paint.
        found: What there is.
        advice: What to do; '' when all is well.
    """

    name: str
    state: State
    found: str
    advice: str = ""


class Patient(NamedTuple):
    """What the checks look at. ``settings`` is None when the flags cannot be read."""

    settings: Settings | None
    venv: Venv
    machine: Machine


def main(argv: list[str]) -> int:
    """Print every check, or JSON with ``--json``; other flags are those of the program.

    Returns:
        Exit code: 0 if the program can paint here, else 1.
    """
    as_json = "--json" in argv
    settings, refusal = _read_settings([word for word in argv if word != "--json"])
    checks = [refusal] if refusal else []
    for check in examine(Patient(settings, Venv(), probe_machine())):
        checks.append(check)
        if not as_json:
            print(as_text(check), flush=True)
    can_paint = all(check.state != "problem" for check in checks)
    if as_json:
        report = {"can_paint": can_paint, "checks": [asdict(check) for check in checks]}
        print(json.dumps(report, indent=1, ensure_ascii=False))
        return 0 if can_paint else 1
    if refusal:
        print(as_text(refusal))
    verdict = "This machine can paint." if can_paint else "It cannot paint yet: see [X ] above."
    print("\n" + tell(verdict))
    return 0 if can_paint else 1


def as_text(check: Check) -> str:
    """One line, and one more for each line of advice."""
    lines = [f"{MARKS[check.state]} {check.name:<12} {check.found}"]
    lines += [f"{'':<18}-> {line}" for line in check.advice.splitlines()]
    return "\n".join(lines)


def _read_settings(argv: list[str]) -> tuple[Settings | None, Check | None]:
    try:
        return read_settings(argv), None
    except SettingsError as err:
        return None, Check("flags", "problem", err.message, err.hint)


def examine(patient: Patient) -> Iterator[Check]:
    """Every check, cheap ones first."""
    for check in (
        check_python,
        check_environment,
        check_packages,
        check_memory,
        check_disk_space,
        check_cards,
        check_torch,
        check_models,
        check_network,
        check_port,
    ):
        yield check(patient)


def check_python(patient: Patient) -> Check:
    """The Python that runs this; launch.py has already refused unsuitable ones."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Check("python", "ok", f"{version}, {sys.executable}")


def check_environment(patient: Patient) -> Check:
    """.venv: there, whole, up to date?"""
    venv = patient.venv
    stamp = venv.read_stamp()
    problem = venv.problem(stamp)
    if problem and os.path.realpath(sys.prefix) != os.path.realpath(venv.folder):
        found = tell("{folder}: {reason}", folder=venv.folder, reason=tell(problem))
        # Someone who brings the packages along (--skip-install) needs no .venv.
        return Check("environment", "warning", found, tell(INSTALL))
    if stamp is None:
        found = tell("{folder}: its installation was not finished", folder=venv.folder)
        return Check("environment", "warning", found, tell(INSTALL))
    if not venv.is_current(stamp, "", needs_dev=False):
        found = tell("{folder}: made for other requirements or another place", folder=venv.folder)
        return Check("environment", "warning", found, tell("The next start brings it up to date."))
    return Check("environment", "ok", tell("{folder}: whole and up to date", folder=venv.folder))


def check_packages(patient: Patient) -> Check:
    """The packages that the program imports, against the versions it was tried with."""
    present = installed_packages(patient.venv)
    needed, exact = requirement_names(), exact_versions()
    missing = [name for name in needed if name not in present]
    other = [
        f"{name} {present[name]} ({exact[name]})"
        for name in needed
        if name in present and present[name].split("+")[0] != exact.get(name, "").split("+")[0]
    ]
    if missing:
        found = tell("missing: {names}", names=", ".join(missing))
        return Check("packages", "problem", found, tell(INSTALL))
    if other:
        found = tell(
            "other versions than the tried ones (in brackets): {names}", names=", ".join(other)
        )
        advice = tell("If something fails: python launch.py --reinstall")
        return Check("packages", "warning", found, advice)
    return Check("packages", "ok", tell("all {count}, in the tried versions", count=len(needed)))


def installed_packages(venv: Venv) -> dict[str, str]:
    """Version of every package in .venv, or beside this Python when there is no .venv."""
    folder = venv.packages
    path = [str(folder)] if folder.is_dir() else sys.path
    found: dict[str, str] = {}
    for package in importlib.metadata.distributions(path=path):
        name = package.metadata["Name"]
        if name:
            found[_plain_name(name)] = package.version
    return found


def _plain_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_names() -> list[str]:
    """Names in runtime.txt."""
    lines = (REQUIREMENTS / "runtime.txt").read_text(encoding="utf-8").splitlines()
    return [_plain_name(re.split(r"[<>=~! ;\[]", one)[0]) for one in lines if one[:1].isalpha()]


def exact_versions() -> dict[str, str]:
    """Versions in constraints.txt that hold for this Python."""
    is_old = sys.version_info < (3, 11)
    found: dict[str, str] = {}
    for line in (REQUIREMENTS / "constraints.txt").read_text(encoding="utf-8").splitlines():
        pin, _, marker = line.partition(";")
        name, is_pin, version = pin.strip().partition("==")
        if is_pin and (not marker or ("<" in marker) == is_old):
            found[_plain_name(name)] = version
    return found


def check_memory(patient: Patient) -> Check:
    """Main memory; little of it means that large checkpoints will not fit."""
    total, free = memory_bytes()
    if not total:
        return Check("memory", "warning", tell("could not be read"))
    found = tell("{free:.1f} of {total:.1f} GB free", free=free / 1e9, total=total / 1e9)
    if free < LITTLE_MEMORY_BYTES:
        advice = tell("Close other programs, or paint small pictures with small checkpoints.")
        return Check("memory", "warning", found, advice)
    return Check("memory", "ok", found)


def memory_bytes() -> tuple[int, int]:
    """(total, available) main memory; zeros when it cannot be told."""
    try:
        import psutil
    except ImportError:
        return (0, 0)
    memory = psutil.virtual_memory()
    return memory.total, memory.available


def check_disk_space(patient: Patient) -> Check:
    """Room, and the right to write, where pictures and settings go."""
    folder = patient.settings.folders.data if patient.settings else ROOT
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    found = tell("{free:.1f} GB free in {folder}", free=free / 1e9, folder=folder)
    try:
        check_writable(folder)
    except LaunchError as err:
        return Check("disk", "problem", err.message, err.hint)
    if free < LITTLE_DISK_BYTES:
        state: State = "problem" if free < NO_DISK_BYTES else "warning"
        return Check("disk", state, found, tell("Free some space."))
    return Check("disk", "ok", found)


def check_cards(patient: Patient) -> Check:
    """Graphics cards and their driver, as the system tells them; torch's view comes next."""
    machine = patient.machine
    if machine.nvidia:
        cards = (
            tell("{name}, driver {driver}", name=one.name, driver=one.driver)
            for one in machine.nvidia
        )
        return Check("graphics", "ok", "; ".join(cards))
    if machine.amd:
        return Check("graphics", "ok", f"AMD ({machine.amd})")
    if machine.remark:
        found = tell("nvidia-smi is installed but finds no working card or driver")
        return Check("graphics", "warning", found, tell("Install or update the card's driver."))
    if machine.system == "Darwin":
        return Check("graphics", "ok", "Apple")
    return Check("graphics", "ok", tell("no NVIDIA or AMD card was found"))


def check_torch(patient: Patient) -> Check:
    """Whether torch and the model libraries load and compute, and on what."""
    facts, failure = probe_torch()
    if failure:
        is_missing = "No module named" in failure
        advice = INSTALL if is_missing else "Start again with --reinstall-torch."
        return Check("torch", "problem", failure, tell(advice))
    found = tell("{version} computes on {device}", version=facts["version"], device=facts["device"])
    for name, size in facts["cards"]:
        found += f"; {name}, {size / 1e9:.1f} GB"
    has_card = bool(patient.machine.nvidia or patient.machine.amd)
    if has_card and facts["device"] == "cpu":
        advice = tell(
            "There is a card that PyTorch does not use: python launch.py --reinstall-torch"
        )
        return Check("torch", "warning", found, advice)
    return Check("torch", "ok", found)


def probe_torch(code: str = TORCH_PROBE) -> tuple[dict[str, Any], str]:
    """(facts, what failed), from a process of its own that can crash or hang alone."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=TORCH_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return {}, tell("gave no answer within {seconds} s", seconds=TORCH_SECONDS)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return {}, last[0]
    return json.loads(done.stdout.splitlines()[-1]), ""


def check_models(patient: Patient) -> Check:
    """Checkpoints that can be used, files that cannot, and how many of the other kinds."""
    if patient.settings is None:
        return Check("models", "warning", tell("not looked for: the flags could not be read"))
    try:
        from webui.checkpoints.catalog import Catalog
        from webui.checkpoints.other_programs import roots_of_all
    except ImportError as err:
        return Check(
            "models", "warning", tell("not looked for: {reason}", reason=err), tell(INSTALL)
        )
    with tempfile.TemporaryDirectory() as scratch:
        # Facts go to a scratch database: looking must not change anything.
        folders = patient.settings.folders
        elsewhere, problems = roots_of_all(folders.programs)
        catalog = Catalog(folders, Path(scratch) / "facts.sqlite3", elsewhere)
        try:
            return _judge_models(catalog, [str(problem) for problem in problems])
        finally:
            catalog.close()


def _judge_models(catalog: Any, problems: list[str]) -> Check:
    usable = [record for record in catalog.checkpoints() if not record.problem]
    broken = [record for record in catalog.checkpoints() if record.problem]
    counts = {
        "LoRA": len(catalog.loras()),
        "VAE": len(catalog.vaes()),
        "embedding": len(catalog.embeddings()),
        "upscaler": len(catalog.upscalers()),
    }
    found = tell("checkpoints: {count}", count=len(usable))
    found += "".join(f", {kind}: {count}" for kind, count in counts.items() if count)
    advice = [*problems, *(f"{record.name}: {record.problem}" for record in broken[:10])]
    if not usable:
        advice.append(tell("Put a .safetensors checkpoint into models/Stable-diffusion."))
        return Check("models", "problem", found, "\n".join(advice))
    return Check("models", "warning" if advice else "ok", found, "\n".join(advice))


def check_network(patient: Patient) -> Check:
    """What painting would need a network for: nothing, as long as the vocabulary is whole."""
    try:
        from webui.prompts.tokenizer import ClipTokenizer
    except ImportError as err:
        found = tell("not looked for: {reason}", reason=err)
        return Check("offline", "warning", found, tell(INSTALL))
    try:
        tokens = ClipTokenizer.load().encode(KNOWN_TEXT)
    except SettingsError as err:
        return Check("offline", "problem", err.message, err.hint)
    if tokens != KNOWN_TOKENS:
        advice = tell("The project's files are damaged; fetch them again.")
        return Check("offline", "problem", tell("the CLIP vocabulary is not right"), advice)
    return Check("offline", "ok", tell("painting needs no network; only downloads and --share do"))


def check_port(patient: Patient) -> Check:
    """Whether the page's port is free; the program itself may be what has it."""
    if patient.settings is None:
        return Check("port", "warning", tell("not looked for: the flags could not be read"))
    host, port = patient.settings.host, patient.settings.port
    if is_port_free(host, port):
        return Check("port", "ok", tell("{port} is free", port=port))
    found = tell("{port} is in use, perhaps by this program already", port=port)
    if patient.settings.port_is_fixed:
        return Check("port", "warning", found, tell("Choose another one with --port."))
    return Check("port", "warning", found, tell("The next free one will be taken."))


def is_port_free(host: str, port: int) -> bool:
    """True when the address can be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if sys.platform != "win32":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError:
            return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
