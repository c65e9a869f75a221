#!/usr/bin/env python3
"""Make the environment this program needs, then run it.

    python launch.py [flags]          set up .venv once, then serve the page
    python launch.py test [args]      the same with the test packages, then run pytest
    python launch.py install          set up .venv and stop
    python launch.py doctor [--json]  say what is in order, what is not, and what to do

Standard library only. The syntax stays old enough for Python 3.8, so that an unsuitable Python
is told what to do in a sentence instead of a SyntaxError.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterable, NamedTuple

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
REQUIREMENTS = ROOT / "requirements"
OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
COMMANDS = ("test", "install", "doctor")
SWITCHES = ("--skip-install", "--reinstall", "--reinstall-torch", "--help", "-h")

OWN_HELP = """\
python launch.py [flags]           set up .venv the first time, then serve the page
python launch.py test [args]       the same with the test packages, then run pytest
python launch.py install           set up .venv and stop
python launch.py doctor [--json]   say what is in order, what is not, and what to do

Flags of launch.py itself; every other flag goes to the program:
  --torch WHICH       cpu, mps, xpu, or a build such as cu126, cu130, rocm7.1
                      (default: what fits this machine)
  --reinstall-torch   choose and install PyTorch again (a new graphics card, a new driver)
  --reinstall         make .venv again from nothing
  --skip-install      install nothing; use .venv, or this Python, as it is
  -h, --help          this text, then the program's own flags
Environment: TORCH_INDEX_URL names another place to fetch PyTorch from (a build's own folder,
or a folder that holds cpu, cu130 and so on). pip's own settings and mirrors are honoured.
"""


class LaunchError(Exception):
    """Something a person must know or do before the program can run."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def say(text: str = "") -> None:
    """Print at once, also where output goes to a file or another program."""
    print(text, flush=True)


# --- the Python that runs this file ------------------------------------------------------------


def python_problem(version: tuple[int, ...], is_64_bit: bool) -> LaunchError | None:
    """Why this Python cannot run the program, or None when it can."""
    found = ".".join(str(part) for part in version[:3])
    wanted = f"Python {_dotted(OLDEST_PYTHON)} to {_dotted(NEWEST_PYTHON)}"
    if not OLDEST_PYTHON <= tuple(version[:2]) <= NEWEST_PYTHON:
        return LaunchError(
            f"This program needs {wanted}; this is Python {found}.",
            "Install Python 3.12 (python.org, or your system's packages) and start with it: "
            + ("py -3.12 launch.py" if os.name == "nt" else "python3.12 launch.py"),
        )
    if not is_64_bit:
        return LaunchError(
            f"This program needs a 64-bit Python; this is a 32-bit Python {found}.",
            "Install the 64-bit Python 3.12 from python.org and start again.",
        )
    return None


def _dotted(version: Iterable[int]) -> str:
    return ".".join(str(part) for part in version)


def find_other_python() -> str | None:
    """A suitable Python elsewhere on this machine, newest well-tried first."""
    tries = [["py", "-3.%d" % minor] for minor in (12, 11, 13, 10)] if os.name == "nt" else []
    tries += [["python3.%d" % minor] for minor in (12, 11, 13, 10)]
    for command in tries:
        if shutil.which(command[0]):
            done = run_quietly([*command, "-c", "import sys; print(sys.executable)"])
            if done is not None and done.strip():
                return done.strip()
    return None


# --- what kind of machine this is --------------------------------------------------------------


class NvidiaCard(NamedTuple):
    """One line of nvidia-smi. ``capability`` is (major, minor), (0, 0) when not told."""

    name: str
    driver: str
    capability: tuple[int, int]


class Machine(NamedTuple):
    """What decides which PyTorch fits. ``amd`` says how an AMD card was recognised."""

    system: str
    architecture: str
    nvidia: tuple[NvidiaCard, ...] = ()
    amd: str = ""
    remark: str = ""


def run_quietly(command: list[str], seconds: float = 10) -> str | None:
    """Output of a small program, or None when it is missing, fails or takes too long."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=seconds, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")


def probe_machine(run: Callable[[list[str]], str | None] = run_quietly) -> Machine:
    """Look at this machine: system, NVIDIA cards with driver, AMD cards.

    Args:
        run: Gives the output of a command, or None; tests hand in a fake.
    """
    system, architecture = platform.system(), platform.machine().lower()
    architecture = {"amd64": "x86_64", "aarch64": "arm64"}.get(architecture, architecture)
    cards, remark = _probe_nvidia(run)
    amd = _probe_amd() if system == "Linux" and not cards else ""
    return Machine(system, architecture, cards, amd, remark)


def _probe_nvidia(run: Callable[[list[str]], str | None]) -> tuple[tuple[NvidiaCard, ...], str]:
    program = shutil.which("nvidia-smi") or "/usr/lib/wsl/lib/nvidia-smi"
    if not os.path.exists(program):
        return (), ""
    query = "--query-gpu=name,driver_version"
    text = run([program, query + ",compute_cap", "--format=csv,noheader"])
    text = text or run([program, query, "--format=csv,noheader"])
    if not text:
        return (), "nvidia-smi is installed but finds no working card or driver"
    return parse_nvidia(text), ""


def parse_nvidia(text: str) -> tuple[NvidiaCard, ...]:
    """Cards from ``nvidia-smi --query-gpu=name,driver_version[,compute_cap]`` without header."""
    cards = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) >= 2 and re.match(r"\d+\.", parts[1]):
            number = re.match(r"(\d+)\.(\d+)$", parts[2]) if len(parts) > 2 else None
            capability = (int(number.group(1)), int(number.group(2))) if number else (0, 0)
            cards.append(NvidiaCard(parts[0], parts[1], capability))
    return tuple(cards)


# Chips that PyTorch's ROCm wheels are compiled for.
# Source: pytorch, .ci/manywheel/build_rocm.sh and docker's PYTORCH_ROCM_ARCH, releases 2.9-2.13.
ROCM_CHIPS = (
    "gfx900 gfx906 gfx908 gfx90a gfx942 gfx950 gfx1030 gfx1100 gfx1101 gfx1102 gfx1150 gfx1151 "
    "gfx1200 gfx1201"
).split()


def _probe_amd(nodes: str = "/sys/class/kfd/kfd/topology/nodes") -> str:
    """How an AMD card was recognised: chip names, or the ROCm tools, or ''."""
    chips = []
    for file in sorted(Path(nodes).glob("*/properties")):
        try:
            number = re.search(r"gfx_target_version (\d+)", file.read_text())
        except OSError:
            continue
        if number and int(number.group(1)):
            chips.append(chip_name(int(number.group(1))))
    if chips:
        return " ".join(chips)
    if os.path.exists("/opt/rocm") or shutil.which("rocminfo"):
        return "ROCm tools"
    return "/dev/kfd" if os.path.exists("/dev/kfd") else ""


def chip_name(number: int) -> str:
    """The kernel's gfx_target_version as AMD writes it: 90010 is gfx90a, 110000 gfx1100."""
    return "gfx%d%x%x" % (number // 10000, number // 100 % 100, number % 100)


# --- which PyTorch fits ------------------------------------------------------------------------

PYTORCH_INDEX = "https://download.pytorch.org/whl"
ROCM_BUILDS = ("rocm7.2", "rocm7.1", "rocm7.0", "rocm6.4")
TORCH_FAMILY = ("torch", "torchvision")
BUILD = re.compile(r"cpu|xpu|cu\d{2,3}|rocm\d+(\.\d+)*$")
# Gigabytes to download and on disk, all packages together, rounded up.
SIZES = {"cpu": (0.5, 2.0), "mps": (0.4, 2.0), "cuda": (3.3, 8.0), "rocm": (6.0, 22.0)}


class TorchChoice(NamedTuple):
    """Which build to install and why.

    ``builds`` are names of PyTorch's own indexes, best first; empty means what pip finds by
    itself is right for this system.
    """

    kind: str
    builds: tuple[str, ...]
    why: str


def choose_torch(machine: Machine, wanted: str = "") -> TorchChoice:
    """Choose PyTorch for a machine, or as the person asked with ``--torch``.

    Raises:
        LaunchError: There is no PyTorch for this machine, or ``wanted`` is not a build.
    """
    if machine.system == "Darwin" and machine.architecture != "arm64":
        raise LaunchError(
            "This Mac has an Intel processor, and PyTorch is no longer made for those.",
            "Use a Mac with an Apple chip, a Windows or Linux machine, or a rented one.",
        )
    if wanted:
        return _choose_wanted(machine, wanted)
    if machine.system == "Darwin":
        return TorchChoice("mps", (), "this is a Mac with an Apple chip")
    if machine.nvidia:
        return _choose_nvidia(machine)
    if machine.amd:
        return _choose_amd(machine)
    why = machine.remark or "no NVIDIA or AMD card was found"
    # Windows' ordinary PyTorch is the CPU one; Linux' is CUDA, gigabytes for nothing.
    return TorchChoice("cpu", ("cpu",) if machine.system == "Linux" else (), why)


def _choose_wanted(machine: Machine, wanted: str) -> TorchChoice:
    why = f"--torch {wanted} asks for it"
    if wanted == "rocm":
        return TorchChoice("rocm", ROCM_BUILDS, why)
    if wanted in ("cuda", "nvidia"):
        return TorchChoice("cuda", ("cu130", "cu129", "cu126"), why)
    if wanted == "mps" or (wanted == "cpu" and machine.system != "Linux"):
        return TorchChoice(wanted, (), why)
    if not BUILD.match(wanted):
        raise LaunchError(
            f"--torch was given {wanted!r}, which is not a PyTorch build.",
            "Use cpu, mps, xpu, cuda, rocm, or an exact build such as cu126, cu130, rocm7.1.",
        )
    kind = "cuda" if wanted.startswith("cu") else "rocm" if wanted.startswith("rocm") else wanted
    return TorchChoice(kind, (wanted,), why)


def _choose_nvidia(machine: Machine) -> TorchChoice:
    """CUDA builds that the driver can run and that hold code for the card.

    Source: NVIDIA, CUDA minor version compatibility (12.x needs driver 525, 13.x driver 580);
        PyTorch release matrix 2.11-2.13 (12.6: capability 5.0-9.0, later builds: 7.5 and up).
    """
    card = max(machine.nvidia, key=lambda one: one.capability)
    driver = int(card.driver.split(".")[0])
    found = f"{card.name}, driver {card.driver}"
    is_old_card = (0, 0) < card.capability < (7, 5)
    is_new_card = card.capability >= (10, 0)
    if driver < 525 or (is_new_card and driver < 570):
        needed = 570 if is_new_card else 525
        why = (
            f"{found}: the driver is too old for any present PyTorch; update it to {needed} "
            "or newer, then start with --reinstall-torch"
        )
        return TorchChoice("cpu", ("cpu",) if machine.system == "Linux" else (), why)
    if (0, 0) < card.capability < (5, 0):
        why = f"{found}: the card is older than any present PyTorch supports"
        return TorchChoice("cpu", ("cpu",) if machine.system == "Linux" else (), why)
    if is_old_card:
        return TorchChoice("cuda", ("cu126",), found + "; an older card, which CUDA 13 left out")
    if driver >= 580:
        return TorchChoice("cuda", ("cu130", "cu129", "cu128", "cu126"), found)
    builds = ("cu129", "cu128") if is_new_card else ("cu126", "cu129", "cu128")
    return TorchChoice("cuda", builds, found + "; a driver for CUDA 12")


def _choose_amd(machine: Machine) -> TorchChoice:
    chips = [word for word in machine.amd.split() if word.startswith("gfx")]
    if chips and not set(chips) & set(ROCM_CHIPS):
        why = (
            f"the AMD chip {', '.join(chips)} is not among those PyTorch is built for "
            "(--torch rocm tries it nevertheless)"
        )
        return TorchChoice("cpu", ("cpu",), why)
    return TorchChoice("rocm", ROCM_BUILDS, f"an AMD card was found ({machine.amd})")


class TorchSource(NamedTuple):
    """What is said to pip about torch: exact requirements and extra pages to look on."""

    requirements: tuple[str, ...]
    pages: tuple[str, ...]
    build: str
    remark: str = ""


def find_torch(
    choice: TorchChoice,
    machine: Machine,
    index_url: str = "",
    fetch: Callable[[str], tuple[int, str]] | None = None,
) -> TorchSource:
    """Find an index page that really holds the wanted wheels for this Python and system.

    Only the pages of the torch family are given to pip, as ``--find-links``: everything else
    still comes from wherever the person's pip settings say. Answers within seconds, also
    without a network.

    Args:
        choice: Builds to try, best first.
        machine: Decides the wheel's platform tag.
        index_url: TORCH_INDEX_URL, or ''.
        fetch: Gives (HTTP status, text) of a page, status 0 when the host does not answer.
    """
    fetch = fetch or fetch_page
    plain = tuple(f"{name}=={pinned(name)}" for name in TORCH_FAMILY)
    folders = _index_folders(choice, index_url)
    for build, folder in folders:
        for pages in ([folder + "/" + name + "/" for name in TORCH_FAMILY], [folder + "/"]):
            status, text = fetch(pages[0])
            if status == 0:
                host = folder.split("/")[2] if "//" in folder else folder
                return TorchSource(plain, (), "", f"{host} does not answer")
            exact = wheel_version(text, "torch", machine) if status == 200 else ""
            if exact:
                if len(pages) > 1:
                    text = fetch(pages[1])[1]
                vision = wheel_version(text, "torchvision", machine) or pinned("torchvision")
                pages += _triton_pages(folder, choice.kind)
                return TorchSource(
                    (f"torch=={exact}", f"torchvision=={vision}"), tuple(pages), build
                )
    remark = "no index has this PyTorch for this Python and system" if folders else ""
    return TorchSource(plain, (), "", remark)


def _index_folders(choice: TorchChoice, index_url: str) -> list[tuple[str, str]]:
    """(build, folder) pairs; TORCH_INDEX_URL is one build's folder or the folder above them."""
    base = (index_url or PYTORCH_INDEX).rstrip("/")
    last = base.rsplit("/", 1)[-1]
    if index_url and BUILD.match(last):
        return [(last, base)]
    if index_url and not choice.builds:
        return [("", base)]
    return [(build, base + "/" + build) for build in choice.builds]


def _triton_pages(folder: str, kind: str) -> list[str]:
    """CUDA's triton is on every ordinary index; those of ROCm and Intel are only here."""
    names = {"rocm": ("triton-rocm", "pytorch-triton-rocm"), "xpu": ("triton-xpu",)}
    return [folder + "/" + name + "/" for name in names.get(kind, ())]


def wheel_version(page: str, name: str, machine: Machine) -> str:
    """Full version (with +build) of the pinned wheel for this Python and machine, or ''."""
    python = "cp%d%d" % sys.version_info[:2]
    system = {"Windows": "win", "Darwin": "macosx"}.get(machine.system, "linux")
    processors = {"x86_64": "(?:x86_64|amd64)", "arm64": "(?:aarch64|arm64)"}
    pattern = r"\b%s-(%s(?:(?:%%2B|\+)[\w.]+)?)-%s-%s-[\w.]*%s[\w.]*%s\.whl" % (
        name,
        re.escape(pinned(name)),
        python,
        python,
        system,
        processors.get(machine.architecture, re.escape(machine.architecture)),
    )
    found = re.search(pattern, page)
    return found.group(1).replace("%2B", "+") if found else ""


def fetch_page(url: str, answer_seconds: float = 5, read_seconds: float = 15) -> tuple[int, str]:
    """(HTTP status, text) of a page; (0, '') when the host does not answer in time.

    A thread does the work, because looking up a host name cannot be given a time limit.
    """
    import threading

    state: dict[str, Any] = {"result": (0, "")}
    answered = threading.Event()
    thread = threading.Thread(
        target=_fetch_into, args=(url, answer_seconds, state, answered), daemon=True
    )
    thread.start()
    if answered.wait(answer_seconds):
        thread.join(read_seconds)
    return state["result"]


def _fetch_into(url: str, seconds: float, state: dict[str, Any], answered: Any) -> None:
    import ssl
    import urllib.error
    import urllib.request

    certificates = os.environ.get("PIP_CERT") or os.environ.get("REQUESTS_CA_BUNDLE")
    try:
        context = ssl.create_default_context(cafile=certificates)
        request = urllib.request.Request(url, headers={"User-Agent": "danqing-launch"})
        with urllib.request.urlopen(request, timeout=seconds, context=context) as reply:
            answered.set()
            state["result"] = (reply.status, reply.read().decode("utf-8", "replace"))
    except urllib.error.HTTPError as err:
        # A proxy that refuses the host answers too; only the index itself says 403 or 404.
        state["result"] = (err.code if err.code in (403, 404) else 0, "")
    except (OSError, ValueError):
        pass
    answered.set()


# --- the environment and its stamp -------------------------------------------------------------

STAMP = VENV / "danqing.json"
LOG = VENV / "install.log"
PIP_TEMP = VENV / "tmp"


def venv_python(venv: Path = VENV) -> Path:
    """Where the environment's Python lies."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def site_packages(venv: Path = VENV) -> Path:
    """Where the environment's packages lie (the folder need not exist)."""
    if os.name == "nt":
        return venv / "Lib" / "site-packages"
    found = sorted(venv.glob("lib/python3.*/site-packages"))
    return found[-1] if found else venv / "lib" / "site-packages"


def pinned(name: str) -> str:
    """The exact version of a package in constraints.txt, without build."""
    text = (REQUIREMENTS / "constraints.txt").read_text(encoding="utf-8")
    found = re.search(r"(?m)^%s==([^\s;]+)" % re.escape(name), text)
    if not found:
        raise LaunchError(
            f"requirements/constraints.txt does not name {name}.",
            "The project's files are damaged; fetch them again.",
        )
    return found.group(1)


def installed_version(name: str, site: Path) -> str:
    """Version of an installed package read from its folder name, or ''. Starts no Python."""
    found = sorted(site.glob(f"{name}-*.dist-info"))
    return found[-1].name[len(name) + 1 : -len(".dist-info")] if found else ""


def requirements_hash(folder: Path = REQUIREMENTS) -> str:
    """One hash over every requirements file: any change means installing again."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.txt")):
        digest.update(file.name.encode())
        digest.update(file.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def read_stamp(stamp: Path = STAMP) -> dict[str, Any]:
    """What the last complete installation wrote; empty when there is none."""
    try:
        data = json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def write_stamp(stamp: Path, data: dict[str, Any]) -> None:
    """Write it whole or not at all: this is the last act of an installation."""
    new = stamp.with_suffix(".new")
    new.write_text(json.dumps(data, indent=1), encoding="utf-8")
    os.replace(str(new), str(stamp))


def venv_problem(venv: Path, stamp: dict[str, Any]) -> str:
    """Why the environment cannot be used as it lies there, or ''. Reads files only.

    A Python that was removed or upgraded under the environment shows in where its link leads.
    """
    python = venv_python(venv)
    if not venv.exists():
        return "missing"
    if not python.exists():
        return "its Python is gone"
    if not (venv / "pyvenv.cfg").exists():
        return "it is not a Python environment"
    if stamp and stamp.get("interpreter") != os.path.realpath(str(python)):
        return "its Python has changed"
    return ""


def is_current(stamp: dict[str, Any], venv: Path, wanted_torch: str, needs_dev: bool) -> bool:
    """True when nothing needs to be installed. Reads a few small files, starts nothing."""
    return (
        not venv_problem(venv, stamp)
        and stamp.get("requirements") == requirements_hash()
        and stamp.get("venv") == str(venv)
        and wanted_torch in ("", stamp.get("wanted"), stamp.get("build"))
        and (bool(stamp.get("dev")) or not needs_dev)
    )


def make_venv(venv: Path = VENV) -> None:
    """Make an empty environment, replacing a broken one.

    Raises:
        LaunchError: The folder cannot be written, or this Python lacks the venv module.
    """
    check_writable(venv.parent)
    command = [sys.executable, "-m", "venv", "--clear", str(venv)]
    done = subprocess.run(
        command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        raise venv_error(done.stdout.decode("utf-8", "replace"), venv)


def venv_error(output: str, venv: Path) -> LaunchError:
    """The sentence for a failed ``python -m venv``."""
    version = "%d.%d" % sys.version_info[:2]
    if "ensurepip" in output or "No module named venv" in output:
        return LaunchError(
            f"This Python {version} came without its venv module.",
            f"On Debian and Ubuntu: sudo apt install python{version}-venv. "
            "Elsewhere: install Python from python.org. Then start again.",
        )
    if "No space left" in output:
        return LaunchError(f"The disk that holds {venv.parent} is full.", "Free some space.")
    if "ermission" in output or "Read-only" in output:
        return write_error(venv.parent)
    last = output.strip().splitlines()[-1:] or ["it said nothing"]
    return LaunchError(
        f"Making the environment {venv} failed: {last[0]}",
        "Delete that folder and start again.",
    )


def check_writable(folder: Path) -> None:
    """Raise LaunchError when nothing can be written into the folder."""
    probe = folder / (".write-test-%d" % os.getpid())
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as err:
        raise write_error(folder) from err


def write_error(folder: Path) -> LaunchError:
    """The sentence for a folder that cannot be written."""
    return LaunchError(
        f"The folder {folder} cannot be written.",
        "Move the project into your home folder, or start it as the user who owns that folder.",
    )


def clean_environment() -> dict[str, str]:
    """This process's environment without what would lead the other Python astray."""
    env = dict(os.environ)
    for name in ("PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__", "PIP_TARGET", "PIP_PREFIX"):
        env.pop(name, None)
    return env


def check_disk(choice: TorchChoice, source: TorchSource, folder: Path) -> None:
    """Raise LaunchError when the packages cannot fit beside the project."""
    needed = disk_gigabytes(choice, source)[1]
    free = shutil.disk_usage(str(folder)).free / 1e9
    if free < needed:
        raise LaunchError(
            f"The packages need about {needed:.0f} GB; the disk that holds {folder} has "
            f"{free:.1f} GB free.",
            "Free some space, or move the project to another disk.",
        )


def disk_gigabytes(choice: TorchChoice, source: TorchSource) -> tuple[float, float]:
    """(to download, on disk) in gigabytes for a choice, as far as it can be foretold."""
    return SIZES.get(choice.kind, SIZES["rocm" if choice.kind == "rocm" else "cuda"])


# --- installing --------------------------------------------------------------------------------


class Wish(NamedTuple):
    """What the person asked of launch.py itself."""

    command: str = "serve"
    torch: str = ""
    skip_install: bool = False
    reinstall: bool = False
    reinstall_torch: bool = False
    help: bool = False
    rest: tuple[str, ...] = ()


def read_wish(argv: list[str]) -> Wish:
    """Split the command line into launch.py's own words and what goes on to the program.

    Raises:
        LaunchError: ``--torch`` stands without a value.
    """
    own: dict[str, Any] = {"command": "serve"}
    rest: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            rest += words if own["command"] == "test" else [word, *words]
            break
        if word == "--torch":
            if not words or words[0].startswith("-"):
                raise LaunchError("--torch needs a value.", "For example: --torch cpu")
            own["torch"] = words.pop(0).lower()
        elif word.startswith("--torch="):
            own["torch"] = word.split("=", 1)[1].lower()
        elif word in SWITCHES and not (own["command"] == "test" and word in ("-h", "--help")):
            own["help" if word == "-h" else word[2:].replace("-", "_")] = True
        elif word in COMMANDS and own["command"] == "serve" and not rest:
            own["command"] = word
        else:
            rest.append(word)
    return Wish(rest=tuple(rest), **own)


def ensure_environment(wish: Wish, needs_dev: bool) -> Path:
    """Make .venv what the wish needs and return its Python. No network when nothing is missing.

    Raises:
        LaunchError: It cannot be made; the message says why and what to do.
    """
    stamp = read_stamp()
    if wish.skip_install:
        return Path(sys.executable) if venv_problem(VENV, stamp) else venv_python()
    if not (wish.reinstall or wish.reinstall_torch) and is_current(
        stamp, VENV, wish.torch, needs_dev
    ):
        return venv_python()
    with InstallLock():
        stamp = prepare_venv(wish)
        install(wish, stamp, needs_dev or bool(stamp.get("dev")))
    return venv_python()


def prepare_venv(wish: Wish) -> dict[str, Any]:
    """Bring .venv into a state that pip can work in; returns the stamp it had, now removed."""
    stamp = read_stamp()
    problem = venv_problem(VENV, stamp)
    if wish.reinstall or problem:
        if problem == "missing":
            say("First start: making the program's own environment in .venv (only this once).")
        else:
            say("Making the environment .venv again: " + (problem or "--reinstall asks for it."))
        make_venv()
        stamp = {}
    else:
        check_writable(VENV)
        if not stamp:
            say("The last installation was not finished; going on with it.")
            remove_half_installed(site_packages())
        elif stamp.get("venv") != str(VENV):
            say("The project was moved or copied; adjusting its environment.")
            subprocess.run([sys.executable, "-m", "venv", str(VENV)], env=clean_environment())
    if STAMP.exists():
        STAMP.unlink()
    return stamp


def remove_half_installed(site: Path) -> None:
    """Remove records of packages whose installation was cut off, so that pip does them again.

    pip writes RECORD last; a package folder without it may lack files.
    """
    for info in site.glob("*.dist-info"):
        if not (info / "RECORD").exists():
            shutil.rmtree(str(info), ignore_errors=True)
    for leftover in site.glob("~*"):
        shutil.rmtree(str(leftover), ignore_errors=True)


def install(wish: Wish, stamp: dict[str, Any], needs_dev: bool) -> None:
    """Install everything in one resolve with torch in it, then write the stamp."""
    started = time.monotonic()
    wanted = wish.torch or str(stamp.get("wanted", ""))
    source, choice = plan_torch(wish, stamp, wanted)
    LOG.write_text("", encoding="utf-8")
    if wish.reinstall_torch:
        run_pip(["uninstall", "--yes", *TORCH_FAMILY], "Removing the present PyTorch")
    arguments = ["install", "--prefer-binary", "-r", str(REQUIREMENTS / "runtime.txt")]
    if needs_dev:
        arguments += ["-r", str(REQUIREMENTS / "dev.txt")]
    constraints = ["-c", str(REQUIREMENTS / "constraints.txt")]
    for page in source.pages:
        arguments += ["--find-links", page]
    run_pip([*arguments, *source.requirements, *constraints], "Packages")
    if needs_dev:
        run_pip(
            ["install", "--no-deps", "-r", str(REQUIREMENTS / "dev-no-deps.txt"), *constraints],
            "Packages for tests",
        )
    torch = installed_version("torch", site_packages())
    if torch and choice is not None:
        check_torch(torch, choice)
    shutil.rmtree(str(PIP_TEMP), ignore_errors=True)
    write_stamp(
        STAMP,
        {
            "requirements": requirements_hash(),
            "interpreter": os.path.realpath(str(venv_python())),
            "venv": str(VENV),
            "wanted": wanted,
            "build": source.build or str(stamp.get("build", "")),
            "torch": torch,
            "dev": needs_dev,
        },
    )
    say("Installed in %s." % spoken_time(time.monotonic() - started))


def plan_torch(
    wish: Wish, stamp: dict[str, Any], wanted: str
) -> tuple[TorchSource, TorchChoice | None]:
    """What to tell pip about torch, and the choice behind it (None: the installed one stays)."""
    present = installed_version("torch", site_packages())
    is_fitting = present.split("+")[0] == pinned("torch") and not wish.reinstall_torch
    if is_fitting and wish.torch in ("", stamp.get("wanted"), stamp.get("build")):
        vision = installed_version("torchvision", site_packages()) or pinned("torchvision")
        return TorchSource((f"torch=={present}", f"torchvision=={vision}"), (), ""), None
    machine = probe_machine()
    choice = choose_torch(machine, "" if wanted == "auto" else wanted)
    say(f"PyTorch {pinned('torch')} for {choice.kind}: {choice.why}.")
    index_url = os.environ.get("TORCH_INDEX_URL", "")
    source = find_torch(choice, machine, index_url)
    if source.remark:
        say(f"  {source.remark}; asking pip's own package index instead.")
        if choice.kind == "cpu" and machine.system == "Linux":
            say("  That may be the larger CUDA build (3 GB); it also works without a card.")
    download, disk = disk_gigabytes(choice, source)
    check_disk(choice, source, ROOT)
    say(f"About {download:g} GB to download and {disk:g} GB on disk; a few minutes on a good line.")
    say(f"Stop with Ctrl+C whenever you like; the next start goes on. Details: {LOG}")
    return source, choice


def check_torch(version: str, choice: TorchChoice) -> None:
    """Import torch once, so that a broken one is found now and explained.

    Raises:
        LaunchError: It cannot be imported.
    """
    code = "import torch; print('cuda' if torch.cuda.is_available() else 'no')"
    done = subprocess.run(
        [str(venv_python()), "-c", code],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode:
        last = output.splitlines()[-1] if output else "it ended without a word"
        hint = "Start again with --reinstall-torch."
        if "DLL" in output:
            hint = "Install Microsoft's 'Visual C++ Redistributable 2015-2022 (x64)', restart."
        raise LaunchError(f"PyTorch {version} was installed but does not load: {last}", hint)
    if choice.kind in ("cuda", "rocm") and output.splitlines()[-1:] != ["cuda"]:
        say(f"  PyTorch {version} works, but does not see the graphics card; it will use the CPU.")
        say("  Update the card's driver, then: python launch.py --reinstall-torch")
    else:
        say(f"PyTorch {version} works.")


class InstallLock:
    """Lets one installation work in this folder at a time; freed by the system at any end."""

    def __enter__(self) -> InstallLock:
        import tempfile

        name = hashlib.sha256(str(ROOT).encode()).hexdigest()[:16]
        self.file = open(os.path.join(tempfile.gettempdir(), f"danqing-{name}.lock"), "a+")  # noqa: SIM115
        try:
            self._lock()
        except OSError as err:
            raise LaunchError(
                "Another start of this program is installing its packages right now.",
                "Wait until it has finished, then start again.",
            ) from err
        return self

    def _lock(self) -> None:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(self.file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def __exit__(self, *exc: object) -> None:
        self.file.close()


# --- pip, made readable ------------------------------------------------------------------------

# (what pip printed, what it means, what to do); the first that fits is shown.
PIP_TROUBLES = (
    (
        r"No space left on device|\[Errno 28\]",
        "The disk is full.",
        "Free some space and start again; it goes on where it stopped.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError",
        "The package index's certificate was refused.",
        "On a company network, ask for its certificate file and tell pip: "
        "pip config set global.cert FILE",
    ),
    (
        r"Temporary failure in name resolution|Name or service not known|getaddrinfo failed|"
        r"nodename nor servname|NewConnectionError|NameResolutionError|Network is unreachable|"
        r"ConnectTimeout|ReadTimeout|Read timed out|ProxyError|Connection refused|"
        r"ConnectionResetError|Max retries exceeded",
        "The package index cannot be reached.",
        "Check the internet connection and start again. Behind a proxy: set HTTPS_PROXY. "
        "Near a mirror: pip config set global.index-url ADDRESS",
    ),
    (
        r"DO NOT MATCH THE HASHES|BadZipFile|invalid wheel|IncompleteRead|has an invalid",
        "A download arrived damaged.",
        "Start again; if it happens twice: .venv's pip cache purge.",
    ),
    (
        r"WinError 206|filename or extension is too long|[Ll]ong [Pp]ath",
        "Windows refuses the long file names.",
        "Move the project to a short folder such as C:\\danqing.",
    ),
    (
        r"Permission denied|WinError 5|\[Errno 13\]",
        "A file could not be replaced; perhaps the program is still running.",
        "Close every window of the program and start again.",
    ),
    (
        r"No matching distribution found for ([^\s(]+)",
        "The package index has no fitting file for a package.",
        "If pip uses a mirror, it may be behind: try another. For PyTorch: try --torch cpu.",
    ),
    (
        r"ResolutionImpossible|conflicting dependencies",
        "The packages do not fit together.",
        "Start again with --reinstall; if that fails, report it with .venv/install.log.",
    ),
    (r"MemoryError|Cannot allocate memory", "Memory ran out.", "Close other programs first."),
)


def pip_trouble(output: str) -> tuple[str, str]:
    """(what happened, what to do) for pip's output of a failed run."""
    for pattern, meaning, hint in PIP_TROUBLES:
        if re.search(pattern, output):
            return meaning, hint
    return "pip stopped with an error.", "The log says more. Starting again often helps."


def pip_environment() -> dict[str, str]:
    """The person's pip settings, less what would lead it out of .venv."""
    PIP_TEMP.mkdir(parents=True, exist_ok=True)
    env = clean_environment()
    env.update(
        PIP_USER="0",
        PIP_REQUIRE_VIRTUALENV="0",
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_NO_INPUT="1",
        PYTHONUTF8="1",
        PYTHONUNBUFFERED="1",
    )
    # On the project's own disk: /tmp is often a small memory disk. Its growth is the progress.
    for name in ("TMPDIR", "TEMP", "TMP"):
        env[name] = str(PIP_TEMP)
    return env


def run_pip(arguments: list[str], title: str) -> None:
    """Run pip in the environment, show what it is doing, keep everything it says in the log.

    Raises:
        LaunchError: pip failed; the message explains its last lines.
    """
    command = [str(venv_python()), "-m", "pip", *arguments]
    with open(str(LOG), "a", encoding="utf-8") as log:
        log.write("$ " + " ".join(command) + "\n")
        log.flush()
        process = subprocess.Popen(
            command,
            env=pip_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            lines = PipProgress(title, log).follow(process)
            code = process.wait()
        finally:
            stop_process(process)
    if code:
        for line in lines[-15:]:
            say("    " + line)
        meaning, hint = pip_trouble("\n".join(lines))
        raise LaunchError(f"Installing the packages failed. {meaning}", f"{hint} Log: {LOG}")


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """End a process that this one started, if it still runs."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class PipProgress:
    """Turns pip's lines into one short status: a living line on a terminal, else few lines."""

    def __init__(self, title: str, log: Any) -> None:
        self.title = title
        self.log = log
        self.started = time.monotonic()
        self.is_terminal = sys.stdout.isatty()
        self.status = "looking up packages"
        self.file = ""
        self.total_bytes = 0.0
        self.packages = 0
        self.seen = 0
        self.before = 0
        self.quiet_since = self.started

    def follow(self, process: subprocess.Popen[bytes]) -> list[str]:
        """Read pip's output to its end and return its lines."""
        import threading

        lines: list[str] = []
        self.before = self._count_installed()
        done = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(done,), daemon=True)
        ticker.start()
        assert process.stdout is not None
        try:
            for raw in process.stdout:
                line = raw.decode("utf-8", "replace").rstrip()
                lines.append(line)
                self.log.write(line + "\n")
                self.log.flush()
                self.read(line)
        finally:
            done.set()
            ticker.join()
            if self.is_terminal:
                print("\r\033[K", end="", flush=True)
        return lines

    def read(self, line: str) -> None:
        """Take one line of pip into account."""
        text = line.strip()
        file = re.match(
            r"(?:Downloading|Using cached|Processing) (\S+)(?: \(([\d.]+) ([kMG]?B))?", text
        )
        if text.startswith("Collecting "):
            self.seen += 1
            self.file = ""
            self.status = "looking up " + re.split(r"[ =<>!~;\[]", text[11:])[0]
        elif file and not file.group(1).endswith(".metadata"):
            self._read_file(text.split()[0], file.group(1), file.group(2), file.group(3))
        elif text.startswith("Installing collected packages:"):
            self.packages = text.count(",") + 1
            self.file = ""
            self.status = "unpacking"
            self._announce(f"unpacking {self.packages} packages (the slow part on a slow disk)")

    def _read_file(self, deed: str, address: str, number: str | None, unit: str | None) -> None:
        name = address.rsplit("/", 1)[-1].replace("%2B", "+")
        factor = {"kB": 1e3, "MB": 1e6, "GB": 1e9}.get(unit or "", 1.0)
        self.file = name if deed == "Downloading" else ""
        self.total_bytes = float(number or 0) * factor
        package = "-".join(name.split("-")[:2])
        self.status = ("downloading " if deed == "Downloading" else "taking ") + package
        if self.total_bytes >= 2e7:
            self._announce(f"{self.status} ({self.total_bytes / 1e6:.0f} MB)")

    def _announce(self, text: str) -> None:
        if not self.is_terminal:
            say(f"  {self.title}: {text}")
            self.quiet_since = time.monotonic()

    def _tick(self, done: Any) -> None:
        while not done.wait(0.5):
            if self.is_terminal:
                width = shutil.get_terminal_size().columns - 1
                print("\r\033[K" + self.line()[:width], end="", flush=True)
            elif time.monotonic() - self.quiet_since >= 30:
                say(self.line())
                self.quiet_since = time.monotonic()

    def line(self) -> str:
        """The status in one line: deed, amount, time so far."""
        amount = ""
        if self.packages:
            done = min(max(self._count_installed() - self.before, 0), self.packages)
            amount = f" {done} of {self.packages} packages"
        elif self.file and self.total_bytes:
            here = _downloaded_bytes(self.file)
            amount = f" {here / 1e6:.0f} of {self.total_bytes / 1e6:.0f} MB"
        elif self.seen:
            amount = f" ({self.seen} so far)"
        elapsed = spoken_time(time.monotonic() - self.started)
        return f"  {self.title}: {self.status}{amount}, {elapsed}"

    def _count_installed(self) -> int:
        return sum(1 for _ in site_packages().glob("*.dist-info"))


def _downloaded_bytes(name: str) -> int:
    """How much of a file pip has written into its temporary folder."""
    sizes = [0]
    for path in PIP_TEMP.glob("*/" + name):
        try:
            sizes.append(path.stat().st_size)
        except OSError:
            continue
    return max(sizes)


def spoken_time(seconds: float) -> str:
    """65 is '1 min 5 s'."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


# --- running -----------------------------------------------------------------------------------


def app_environment() -> dict[str, str]:
    """The program's environment: UTF-8 everywhere, no analytics, no model hub by surprise."""
    env = clean_environment()
    env["PYTHONUTF8"] = "1"
    env.setdefault("GRADIO_ANALYTICS_ENABLED", "0")
    env.setdefault("HF_HUB_OFFLINE", "1")
    env.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    return env


def become(command: list[str], env: dict[str, str]) -> int:
    """Run a program in this one's place, so that signals and its exit code are its own.

    On Windows a process cannot be replaced without the shell believing it ended: there this
    one waits, lets the program handle Ctrl+C itself, and returns its exit code.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name != "nt":
        os.execve(command[0], command, env)
    process = subprocess.Popen(command, env=env)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue
        except BaseException:
            stop_process(process)
            raise


def serve(wish: Wish) -> int:
    """Set up, then run app.py with every flag that is not launch.py's own."""
    python = ensure_environment(wish, needs_dev=False)
    return become([str(python), str(ROOT / "app.py"), *wish.rest], app_environment())


def run_tests(wish: Wish) -> int:
    """Set up with the test packages, then run pytest in the project folder."""
    python = ensure_environment(wish, needs_dev=True)
    os.chdir(str(ROOT))
    return become([str(python), "-m", "pytest", *wish.rest], app_environment())


def run_doctor(wish: Wish) -> int:
    """Run the doctor with .venv's Python, or with this one when .venv cannot be used."""
    python = sys.executable if venv_problem(VENV, read_stamp()) else str(venv_python())
    env = app_environment()
    env["PYTHONPATH"] = str(ROOT)
    return become([python, "-m", "webui.doctor", *wish.rest], env)


def show_help(wish: Wish) -> int:
    """Own help, then the program's when its environment exists."""
    say(OWN_HELP)
    if wish.command == "serve" and not venv_problem(VENV, read_stamp()):
        env = app_environment()
        return become([str(venv_python()), str(ROOT / "app.py"), "--help"], env)
    return 0


def go_on_with_another_python(problem: LaunchError, argv: list[str]) -> int:
    """Use .venv's own Python, or another suitable one, in place of this unsuitable one.

    Raises:
        LaunchError: ``problem``, when there is none.
    """
    is_again = os.environ.get("DANQING_PYTHON_FOUND") == "1"
    other = str(venv_python()) if venv_python().exists() else find_other_python()
    if is_again or not other:
        raise problem
    say(f"{problem.message} Going on with {other}.")
    env = dict(os.environ, DANQING_PYTHON_FOUND="1")
    return become([other, str(ROOT / "launch.py"), *argv], env)


def main(argv: list[str]) -> int:
    """Do what the command line asks; returns the exit code."""
    import signal

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        problem = python_problem(tuple(sys.version_info[:3]), sys.maxsize > 2**32)
        if problem is not None:
            return go_on_with_another_python(problem, argv)
        wish = read_wish(argv)
        if wish.help:
            return show_help(wish)
        # SIGTERM unwinds like Ctrl+C, so that a pip under way is ended too.
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        deeds = {"serve": serve, "test": run_tests, "doctor": run_doctor}
        if wish.command == "install":
            ensure_environment(wish, needs_dev=False)
            say("The environment is ready: python launch.py")
            return 0
        signal.signal(signal.SIGTERM, before) if wish.skip_install else None
        return deeds[wish.command](wish)
    except LaunchError as err:
        say()
        say(err.message)
        if err.hint:
            say(err.hint)
        return 1
    except KeyboardInterrupt:
        say("\nStopped. Starting again goes on from here.")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
