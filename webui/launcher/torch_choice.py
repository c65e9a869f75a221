"""Which PyTorch build fits a machine, and why. Pure decisions: nothing is asked or fetched."""

from __future__ import annotations

import re
from typing import NamedTuple

from webui.launcher.machine import Machine
from webui.launcher.words import LaunchError, tell

# Chips that PyTorch's ROCm wheels are compiled for.
# Source: pytorch, .ci/docker (PYTORCH_ROCM_ARCH), releases 2.9 to 2.13.
ROCM_CHIPS = frozenset(
    (
        *("gfx900", "gfx906", "gfx908", "gfx90a", "gfx942", "gfx950"),
        *("gfx1030", "gfx1100", "gfx1101", "gfx1102"),
        *("gfx1150", "gfx1151", "gfx1200", "gfx1201"),
    )
)
# Names of PyTorch's own indexes, best first. Which of them hold the pinned release is looked up
# (torch_source.py), so a name that is not there only costs one question.
CUDA_BUILDS = ("cu130", "cu129", "cu128", "cu126")
ROCM_BUILDS = ("rocm7.2", "rocm7.1", "rocm7.0", "rocm6.4")
BUILD = re.compile(r"(cpu|xpu|cu\d{2,3}|rocm\d+(\.\d+)*)$")
# Gigabytes to download and on disk, all packages together. cpu: measured; the others: the sizes
# that the package index states for torch and what it needs, with the same remainder.
SIZES = {"cpu": (0.3, 1.6), "mps": (0.3, 1.6), "cuda": (3.1, 6.5), "rocm": (5.0, 20.0)}


class TorchChoice(NamedTuple):
    """Which build to install and why.

    ``builds`` are names of PyTorch's own indexes, best first; empty means that what pip finds
    by itself is right for this system.
    """

    kind: str
    builds: tuple[str, ...]
    why: str

    @property
    def gigabytes(self) -> tuple[float, float]:
        """(to download, on disk), all packages together."""
        return SIZES.get(self.kind, SIZES["cuda"])


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
    if wanted not in ("", "auto"):
        return _choose_wanted(machine, wanted)
    if machine.system == "Darwin":
        return TorchChoice("mps", (), tell("this is a Mac with an Apple chip"))
    if machine.nvidia:
        return _choose_nvidia(machine)
    if machine.amd:
        return _choose_amd(machine)
    if machine.remark:
        return _cpu(machine, tell("nvidia-smi is installed but finds no working card or driver"))
    return _cpu(machine, tell("no NVIDIA or AMD card was found"))


def _cpu(machine: Machine, why: str) -> TorchChoice:
    # Windows' ordinary PyTorch is the CPU one; Linux' is CUDA, gigabytes for nothing.
    return TorchChoice("cpu", ("cpu",) if machine.system == "Linux" else (), why)


def _choose_wanted(machine: Machine, wanted: str) -> TorchChoice:
    why = tell("--torch {wanted} asks for it", wanted=wanted)
    if wanted == "rocm":
        return TorchChoice("rocm", ROCM_BUILDS, why)
    if wanted == "cuda":
        return TorchChoice("cuda", CUDA_BUILDS, why)
    if wanted == "cpu":
        return _cpu(machine, why)
    if wanted == "mps":
        return TorchChoice("mps", (), why)
    if not BUILD.match(wanted):
        raise LaunchError(
            "--torch was given '{wanted}', which is not a PyTorch build.",
            "Use auto, cpu, mps, xpu, cuda, rocm, or an exact build such as cu126 or rocm7.1.",
            wanted=wanted,
        )
    kind = "cuda" if wanted.startswith("cu") else "rocm" if wanted.startswith("rocm") else wanted
    return TorchChoice(kind, (wanted,), why)


def _choose_nvidia(machine: Machine) -> TorchChoice:
    """CUDA builds that the driver can run and that hold code for the best card.

    Source: NVIDIA, CUDA minor version compatibility (12.x needs driver 525, 13.x driver 580);
        PyTorch release matrix 2.11-2.13 (12.6: capability 5.0-9.0, later builds 7.5 and up,
        Blackwell, 10.0 and up, since 12.8, whose driver is 570).
    """
    card = max(machine.nvidia, key=lambda one: one.capability)
    found = tell("{name}, driver {driver}", name=card.name, driver=card.driver)
    driver = int(card.driver.split(".")[0])
    is_known = card.capability > (0, 0)
    is_blackwell = card.capability >= (10, 0)
    needed = 570 if is_blackwell else 525
    if is_known and card.capability < (5, 0):
        return _cpu(machine, tell("{found}: the card is too old for PyTorch", found=found))
    if driver < needed:
        why = "{found}: the driver is too old; update it to {needed} or newer, then start with "
        why += "--reinstall-torch"
        return _cpu(machine, tell(why, found=found, needed=needed))
    if is_known and card.capability < (7, 5):
        why = tell("{found}; CUDA 12.6, the last for this older card", found=found)
        return TorchChoice("cuda", ("cu126",), why)
    if driver >= 580:
        builds = CUDA_BUILDS[:-1] if is_blackwell else CUDA_BUILDS
        return TorchChoice("cuda", builds, found)
    builds = ("cu129", "cu128") if is_blackwell else ("cu126", "cu129", "cu128")
    return TorchChoice("cuda", builds, tell("{found}; a driver for CUDA 12", found=found))


def _choose_amd(machine: Machine) -> TorchChoice:
    chips = [word for word in machine.amd.split() if word.startswith("gfx")]
    if chips and not ROCM_CHIPS.intersection(chips):
        why = "PyTorch is not built for the AMD chip {chips} (--torch rocm tries it nevertheless)"
        return _cpu(machine, tell(why, chips=", ".join(chips)))
    why = tell("an AMD card was found ({amd})", amd=machine.amd)
    return TorchChoice("rocm", ROCM_BUILDS, why)
