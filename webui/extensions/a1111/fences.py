"""The fence around code of A1111 folders: ours, with sentences that name what is missing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from webui.extensions.fence import PASSES
from webui.extensions.fence import Fence as CoreFence
from webui.hookspecs import LONG_SECONDS

LOAD_SECONDS = 60.0
"""How long a script may take to load, and to draw its fields."""
_NOT_IN_MODULES = re.compile(r"cannot import name '(\w+)' from 'modules'")
REASON_OF_TIER_4 = (
    "It changes the inside of A1111's samplers or U-Net, which are others here; what such "
    "extensions are mostly wanted for (ControlNet, tiles, regions) is built in"
)
INSIDE = frozenset(
    {
        "modules.sd_hijack_unet", "modules.sd_hijack_optimizations", "modules.sd_hijack_clip",
        "modules.sd_hijack_open_clip", "modules.sd_hijack_checkpoint", "modules.sd_hijack_utils",
        "modules.sd_samplers_kdiffusion", "modules.sd_samplers_cfg_denoiser",
        "modules.sd_samplers_common", "modules.sd_samplers_timesteps",
        "modules.sd_samplers_timesteps_impl", "modules.sd_samplers_extra",
        "modules.sd_models_xl", "modules.sd_models_config", "modules.sd_disable_initialization",
        "modules.sub_quadratic_attention", "modules.textual_inversion", "modules.hypernetworks",
        "modules.models", "modules.deepbooru_model", "modules.lowvram", "modules.sd_unet",
        "ldm", "sgm", "k_diffusion", "repositories", "ldm_patched", "modules_forge", "backend",
    }
)  # fmt: skip
"""Modules whose users count on A1111's own classes of models and samplers."""


class Fence:
    """Calls scripts; what goes wrong is recorded and nothing comes out.

    Args:
        core: Which records it.
    """

    def __init__(self, core: CoreFence) -> None:
        self.core = core

    def call(
        self,
        owner: str,
        hook: str,
        deed: Callable[..., Any],
        *args: Any,
        seconds: float = LONG_SECONDS,
        is_fatal: bool = False,
        **kwargs: Any,
    ) -> tuple[bool, Any]:
        """Call something of an extension.

        Args:
            seconds: How long it may take.
            is_fatal: The extension is left out when it fails.
        Returns:
            Whether it came to its end, and what it returned. Extensions that are left out are
            not called.
        Raises:
            JobCancelled, JobPaused, Interrupted: The person stopped.
        """
        if self.core.left_out(owner):
            return False, None
        failure: list[BaseException] = []

        def run() -> tuple[Any] | None:
            try:
                return (deed(*args, **kwargs),)
            except PASSES:
                raise
            except (Exception, SystemExit) as err:  # fence
                failure.append(err)
                return None

        answer = self.core.call(owner, hook, seconds, run)
        if failure:
            self.report(owner, hook, failure[0], is_fatal=is_fatal)
        return (False, None) if answer is None else (True, answer[0])

    def report(self, owner: str, hook: str, err: BaseException, *, is_fatal: bool = False) -> str:
        """Record a failure; returns what people are told of it."""
        told = sentence(err)
        self.core.record(owner, hook, err, told=told, is_fatal=is_fatal)
        return told


def sentence(err: BaseException) -> str:
    """What went wrong, in a sentence that names what is missing where something is."""
    if isinstance(err, SystemExit):
        return "It tried to end the program, which was not done."
    if isinstance(err, ModuleNotFoundError) and err.name:
        return _missing_module(err.name)
    if found := _NOT_IN_MODULES.match(str(err)):
        return _missing_module(f"modules.{found[1]}")
    is_missing = isinstance(err, ImportError) and (err.name or "").split(".")[0] == "modules"
    if is_missing or (isinstance(err, AttributeError) and "module 'modules" in str(err)):
        return f"It needs something of A1111 that is not here: {err}."
    return f"{type(err).__name__}: {err}"


def _missing_module(name: str) -> str:
    if any(name == part or name.startswith(f"{part}.") for part in INSIDE):
        return f"It needs {name}. {REASON_OF_TIER_4}."
    if name.split(".")[0] == "modules":
        return f"It needs {name} of A1111's web UI, which is not here."
    return (
        f"It needs the Python package {name.split('.')[0]}, which is not installed. Its install.py "
        "may bring it; it runs only when you say so, on the Extensions tab."
    )
