"""Runs jobs that make a weights file out of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from webui.merging.convert import convert_model, result_name
from webui.merging.extract import extract_lora
from webui.merging.folders import write_folder, write_single_file
from webui.merging.loras import bake_loras, merge_loras
from webui.merging.merge import merge_checkpoints
from webui.merging.source import ModelFile
from webui.model_process.job_progress import JobProgress
from webui.params import (
    AnyFileTool,
    BakeLoras,
    ConvertModel,
    ExtractLora,
    MergeCheckpoints,
    MergeLoras,
)
from webui.progress import Asked
from webui.wire import Sender


class FileToolRun:
    """One such job.

    Args:
        message: The ``run`` message; its ``file_tool`` holds the ``folder`` for the result and
            the ``files`` that ``params.files`` names, in that order.
        device: Where matrices are taken apart.
    """

    def __init__(
        self,
        params: AnyFileTool,
        message: Mapping[str, Any],
        sender: Sender,
        asked: Asked,
        device: Any,
    ) -> None:
        self._params = params
        self._job = message["job"]
        self._folder = Path(message["file_tool"]["folder"])
        self._files = [ModelFile.from_message(f) for f in message["file_tool"]["files"]]
        self._sender = sender
        self._asked = asked
        self._device = device

    def run(self) -> dict[str, Any]:
        """Make the file.

        Returns:
            ``files``: where it is.
        Raises:
            WebUIError: It cannot be made.
        """
        make: dict[type[AnyFileTool], Callable[[Any], Path]] = {
            MergeCheckpoints: self._merge,
            ConvertModel: self._convert,
            ExtractLora: self._extract,
            MergeLoras: self._merge_loras,
            BakeLoras: self._bake,
        }
        path = make[type(self._params)](self._params)
        return {"files": [str(path)], "interrupted": False}

    def _progress(self, stage: str) -> JobProgress:
        return JobProgress(self._job, stage, self._sender, self._asked)

    def _merge(self, params: MergeCheckpoints) -> Path:
        has_vae = params.bake_in_vae != "None"
        models = self._files[:-1] if has_vae else self._files
        vae = self._files[-1] if has_vae else None
        return merge_checkpoints(params, models, vae, self._folder, self._progress("merging"))

    def _convert(self, params: ConvertModel) -> Path:
        file, progress = self._files[0], self._progress("converting")
        if params.layout == "diffusers":
            path = self._folder / (params.custom_name or f"{file.model_name}-diffusers")
            return write_folder(file, path, params.precision, progress)
        if file.path.is_dir() and params.pruning != "ema-only":  # folders hold nothing else to cut
            path = self._folder / f"{result_name(params, file)}.safetensors"
            return write_single_file(file, path, params.precision, progress)
        return convert_model(params, file, self._folder, progress)

    def _extract(self, params: ExtractLora) -> Path:
        tuned, original = self._files
        progress = self._progress("extracting")
        return extract_lora(params, tuned, original, self._folder, progress, self._device)

    def _merge_loras(self, params: MergeLoras) -> Path:
        return merge_loras(params, self._files, self._folder, self._progress("merging"))

    def _bake(self, params: BakeLoras) -> Path:
        checkpoint, *loras = self._files
        progress = self._progress("merging")
        return bake_loras(params, checkpoint, loras, self._folder, progress, self._warn)

    def _warn(self, text: str) -> None:
        self._sender.send({"type": "warning", "job": self._job, "message": text})
