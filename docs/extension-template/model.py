"""What it does. Loaded in the worker when a job first needs it."""

from __future__ import annotations

from dataclasses import replace

from webui.hookspecs import Job, Pass, hook


@hook
def before_pass(start: Pass, job: Job) -> Pass:
    """Begin with a share of the noise."""
    return replace(start, noise=start.noise * float(job.values["share"]))
