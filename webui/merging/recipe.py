"""What a merged file says about where it comes from, in A1111's words.

Source: ``sd_merge_recipe`` and ``sd_merge_models`` as its merger (1.10) writes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from webui.checkpoints.foreign_text import parse_json
from webui.checkpoints.hashes import old_hash, sha256_of_file
from webui.merging.source import ModelFile
from webui.params import MergeCheckpoints
from webui.progress import Progress

RECIPE, MODELS = "sd_merge_recipe", "sd_merge_models"


def merge_metadata(
    params: MergeCheckpoints,
    models: Sequence[ModelFile],
    metadata: Sequence[Mapping[str, str]],
    special: str,
    progress: Progress,
) -> dict[str, str]:
    """The metadata of a merged file.

    Args:
        models: A, B and C. metadata: What their files say, in the same order.
        special: ``inpainting``, ``instruct-pix2pix`` or ''.
        progress: Asked while hashes are calculated that nobody knew.
    Raises:
        CheckpointError: A file cannot be read.
        JobCancelled: The person asked to stop.
    """
    if not params.save_metadata:
        return {}
    found: dict[str, str] = {}
    if params.copy_metadata_fields:
        for values in metadata:
            found |= values
    found |= {key: _text(value) for key, value in params.own_metadata().items()}
    found["format"] = "pt"
    if params.add_merge_recipe:
        hashes = [_hash(model, progress) for model in models]
        found[RECIPE] = json.dumps(_recipe(params, hashes, special))
        found[MODELS] = json.dumps(_models(models, metadata, hashes))
    return found


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _hash(model: ModelFile, progress: Progress) -> str:
    return model.sha256 or sha256_of_file(model.path, should_stop=progress.is_interrupted)


def _recipe(params: MergeCheckpoints, hashes: Sequence[str], special: str) -> dict[str, Any]:
    primary, secondary, tertiary = (*hashes, None, None)[:3]
    sources = ("A, B or C", "B", "C", "Don't")
    return {
        "type": "webui",
        "primary_model_hash": primary,
        "secondary_model_hash": secondary,
        "tertiary_model_hash": tertiary,
        "interp_method": params.interpolation,
        "multiplier": params.multiplier,
        "save_as_half": params.save_as_half,
        "custom_name": params.custom_name,
        "config_source": sources.index(params.config_source),
        "bake_in_vae": params.bake_in_vae,
        "discard_weights": params.discard_weights,
        "is_inpainting": special == "inpainting",
        "is_instruct_pix2pix": special == "instruct-pix2pix",
    }


def _models(
    models: Sequence[ModelFile], metadata: Sequence[Mapping[str, str]], hashes: Sequence[str]
) -> dict[str, Any]:
    """Each model by its hash, and those it was merged from itself."""
    found: dict[str, Any] = {}
    for model, said, digest in zip(models, metadata, hashes, strict=True):
        found[digest] = {
            "name": model.name,
            "legacy_hash": old_hash(model.path),
            RECIPE: parse_json(said.get(RECIPE, "")),
        }
        earlier = parse_json(said.get(MODELS, ""))
        found |= earlier if isinstance(earlier, dict) else {}
    return found
