"""The checkpoints and VAEs of a job that A1111 scripts drive: they may switch while it runs.

A switch is the beginning of another job as far as the owner of models is concerned: what is needed
from now on is kept, what was needed before may go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webui.checkpoints.basic_support import BasicModel, identify_any
from webui.checkpoints.families import CHOOSE_ANOTHER
from webui.errors import CheckpointNotFoundError, UnknownArchitectureError
from webui.model_process.job_supplies import JobSupplies
from webui.params import ImageToImage, TextToImage
from webui.pipelines.recipe import ModelFacts

if TYPE_CHECKING:
    from webui.model_process.painter import Painter

Files = Mapping[str, Any]
AUTOMATIC, BUILT_IN = "Automatic", ("None", "")


@dataclass(frozen=True)
class InUse:
    """What recipes tell of the models of one painting.

    Attributes:
        others: Of further checkpoints, by catalog name.
    """

    facts: ModelFacts
    others: Mapping[str, ModelFacts]


class ScriptModels:
    """What one job may paint with.

    Args:
        params: The job's request. message: The supervisor's ``run`` message; its ``choices`` hold
            the files of all checkpoints and VAEs.
        in_use: Of the job's own models, which were begun with already.
    """

    def __init__(
        self,
        painter: Painter,
        params: TextToImage | ImageToImage,
        message: Mapping[str, Any],
        supplies: JobSupplies,
        in_use: InUse,
    ) -> None:
        self._painter, self._own = painter, params
        self._message, self._supplies = message, supplies
        self._choices: Mapping[str, Any] = message.get("choices", {})
        self._begun = _models_of(params)
        self._in_use = in_use

    def ready(self, params: TextToImage | ImageToImage) -> InUse:
        """Have a request's models at hand from now on; nothing is loaded yet.

        Raises:
            CheckpointNotFoundError: There is no such checkpoint or VAE.
            CheckpointError: It cannot paint here.
        """
        wanted = _models_of(params)
        if wanted != self._begun:
            names = (params.checkpoint, *params.other_checkpoints)
            files = {name: self._files(name, params.vae) for name in names}
            self._supplies.use(files)
            facts = self._painter.begin_models(params, self._message, files)
            self._in_use = InUse(facts.pop(params.checkpoint), facts)
            self._begun = wanted
        return self._in_use

    def _files(self, checkpoint: str, vae: str) -> Files:
        own: Mapping[str, Files] = {
            self._own.checkpoint: self._message,
            **self._message.get("others", {}),
        }
        if vae == self._own.vae and checkpoint in own:
            files = own[checkpoint]
            return {"checkpoint": files["checkpoint"], "vae": files.get("vae")}
        facts = self._choices.get("checkpoints", {}).get(checkpoint)
        if facts is None:
            raise CheckpointNotFoundError(
                f"A script asked for the checkpoint {checkpoint[:120]!r}, which is not here.",
                "Press Refresh on the Models tab, or choose another one.",
            )
        found = identify_any(Path(facts["path"]))
        if isinstance(found, BasicModel):
            raise UnknownArchitectureError(
                f"A script cannot switch to {facts['stem']}: it is {found.title}, which paints "
                "whole pictures alone.",
                CHOOSE_ANOTHER,
                closest=[found.title],
            )
        return {"checkpoint": facts, "vae": self._vae(vae, facts)}

    def _vae(self, vae: str, checkpoint: Files) -> Files | None:
        if vae == self._own.vae:
            return checkpoint["vae"]
        if vae == AUTOMATIC:
            return checkpoint["usual_vae"]
        if vae in BUILT_IN:
            return None
        listed: list[Files] = self._choices.get("vaes", [])
        wanted = vae.lower()
        found = (one for one in listed if wanted in (one["name"].lower(), one["stem"].lower()))
        if (file := next(found, None)) is None:
            raise CheckpointNotFoundError(
                f"A script asked for the VAE {vae[:120]!r}, which is not here.",
                f"There are: {', '.join(one['name'] for one in listed) or 'none'}.",
            )
        return file


def _models_of(params: TextToImage | ImageToImage) -> tuple[str, ...]:
    return (params.checkpoint, params.vae, *params.other_checkpoints)
