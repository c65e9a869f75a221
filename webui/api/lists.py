"""What there is to choose from: samplers, checkpoints, upscalers, styles … and looking again."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute

from webui.api import a1111_scripts
from webui.api.extension_wishes import extension_infos, extension_titles
from webui.api.scripts import script_infos, script_titles
from webui.checkpoints.catalog import EmbeddingFacts, Record
from webui.checkpoints.known_weights import (
    BY_NAME,
    FACE_RESTORERS,
    REALESRGAN_NAMES,
    NamedFile,
)
from webui.errors import CheckpointNotFoundError
from webui.params import LATENT_UPSCALE_MODES, PLAIN_UPSCALERS
from webui.prompts.styles import Style
from webui.roles import for_guests
from webui.samplers.names import SAMPLERS, SCHEDULES
from webui.services.extensions.listing import list_repositories
from webui.studio import Studio


def list_routes(studio: Studio, route_class: type[APIRoute]) -> APIRouter:
    """All lists, and the requests to look through the folders again."""
    routes = APIRouter(prefix="/sdapi/v1", route_class=route_class, tags=["lists"])
    _add_name_lists(routes, studio)
    _add_model_lists(routes, studio)
    _add_refreshes(routes, studio)
    return routes


def _add_name_lists(routes: APIRouter, studio: Studio) -> None:
    @routes.get("/samplers")
    @for_guests
    def samplers() -> list[dict[str, Any]]:
        """Samplers in menu order."""
        return [{"name": s.name, "aliases": s.aliases, "options": s.options} for s in SAMPLERS]

    @routes.get("/schedulers")
    @for_guests
    def schedulers() -> list[dict[str, Any]]:
        """Schedule types in menu order."""
        return [
            {
                "name": s.name,
                "label": s.label,
                "aliases": list(s.aliases) or None,
                "default_rho": s.default_rho,
                "need_inner_model": s.need_inner_model,
            }
            for s in SCHEDULES
        ]

    @routes.get("/latent-upscale-modes")
    @for_guests
    def latent_upscale_modes() -> list[dict[str, str]]:
        """Ways to enlarge latents between the passes of hires fix."""
        return [{"name": name} for name in LATENT_UPSCALE_MODES]

    @routes.get("/scripts")
    def scripts() -> dict[str, list[str]]:
        """Script titles in lower case."""
        added = extension_titles(studio)
        return {
            tab: [*titles, *added[tab], *a1111_scripts.titles(studio, tab)]
            for tab, titles in script_titles(studio.plots.plans).items()
        }

    @routes.get("/extensions")
    def extensions() -> list[dict[str, Any]]:
        """Extensions that come from a git remote."""
        return list_repositories(studio.extensions)


def _add_model_lists(routes: APIRouter, studio: Studio) -> None:
    catalog = studio.catalog

    @routes.get("/sd-models")
    def sd_models() -> list[dict[str, Any]]:
        """Checkpoints that can be painted with."""
        return [_checkpoint(record) for record in catalog.checkpoints() if not record.problem]

    @routes.get("/sd-vae")
    def sd_vae() -> list[dict[str, Any]]:
        """Separate VAE files."""
        return [_file_and_folder(record) for record in catalog.vaes()]

    @routes.get("/sd-modules")
    def sd_modules() -> list[dict[str, Any]]:
        """The same under Forge's name."""
        return [_file_and_folder(record) for record in catalog.vaes()]

    @routes.get("/upscalers")
    def upscalers() -> list[dict[str, Any]]:
        """Upscalers for pictures."""
        plain = [
            {"name": name, "model_name": None, "model_path": None, "model_url": None, "scale": 4.0}
            for name in PLAIN_UPSCALERS
        ]
        return [*plain, *map(_upscaler, studio.weights.upscalers())]

    @routes.get("/script-info")
    def script_info() -> list[dict[str, Any]]:
        """Scripts with their arguments."""
        ours = script_infos(studio.weights.upscaler_names(), studio.plots.plans)
        return [*ours, *extension_infos(studio), *a1111_scripts.infos(studio)]

    @routes.get("/face-restorers")
    def face_restorers() -> list[dict[str, Any]]:
        """Face restorers by A1111's names; those without a folder have no weights here yet."""
        return [{"name": name, "cmd_dir": _face_folder(studio, name)} for name in FACE_RESTORERS]

    @routes.get("/realesrgan-models")
    def realesrgan_models() -> list[dict[str, Any]]:
        """A1111's Real-ESRGAN models: the file, or where it comes from while it is not here."""
        files = studio.weights.upscalers()
        return [_realesrgan(name, files) for name in REALESRGAN_NAMES]

    @routes.get("/hypernetworks")
    def hypernetworks() -> list[dict[str, Any]]:
        """Hypernetwork files."""
        return [{"name": r.stem, "path": str(r.path)} for r in catalog.hypernetworks()]

    @routes.get("/loras")
    def loras() -> list[dict[str, Any]]:
        """LoRA files with the metadata stored in them."""
        return [_lora(studio, record) for record in catalog.loras()]

    @routes.get("/embeddings")
    def embeddings() -> dict[str, dict[str, Any]]:
        """Textual inversions; skipped are those for other text encoders than the chosen one's."""
        chosen = studio.current_checkpoint()
        width = catalog.text_width(chosen) if chosen else None
        found = [facts for _, facts in studio.tokens.embeddings()]
        loaded = {f.name: _embedding(f) for f in found if width in (None, f.width)}
        skipped = {f.name: _embedding(f) for f in found if f.name not in loaded}
        return {"loaded": loaded, "skipped": skipped}

    @routes.get("/prompt-styles")
    def prompt_styles() -> list[dict[str, Any]]:
        """Saved styles; the headings between several style files have null prompts."""
        return [_style(style) for style in studio.styles.entries()]


def _add_refreshes(routes: APIRouter, studio: Studio) -> None:
    def look_again() -> None:
        """Look through all model folders again."""
        studio.refresh_models()

    for what in ("checkpoints", "vae", "embeddings", "loras", "hypernetworks"):
        routes.add_api_route(
            f"/refresh-{what}", look_again, methods=["POST"], name=f"refresh_{what}"
        )


def _checkpoint(record: Record) -> dict[str, Any]:
    config = record.path.with_suffix(".yaml")
    return {
        "title": record.title,
        "model_name": record.model_name,
        "hash": record.hash10,
        "sha256": record.sha256,
        "filename": str(record.path),
        "config": str(config) if config.exists() else None,
    }


def _style(style: Style) -> dict[str, Any]:
    if style.is_divider:
        return {"name": style.name, "prompt": None, "negative_prompt": None}
    return {
        "name": style.name,
        "prompt": style.prompt,
        "negative_prompt": style.negative_prompt,
    }


def _file_and_folder(record: Record) -> dict[str, Any]:
    return {"model_name": record.path.name, "filename": str(record.path)}


def _upscaler(file: NamedFile) -> dict[str, Any]:
    return {
        "name": file.name,
        "model_name": file.record.stem,
        "model_path": str(file.record.path),
        "model_url": None,
        "scale": float(file.scale),
    }


def _realesrgan(name: str, files: tuple[NamedFile, ...]) -> dict[str, Any]:
    known = BY_NAME[name]
    here = next((str(file.record.path) for file in files if file.name == name), None)
    return {"name": name, "path": here or next(iter(known.urls), ""), "scale": known.scale}


def _face_folder(studio: Studio, name: str) -> str | None:
    try:
        found = studio.weights.find_face_restorer(name)
    except CheckpointNotFoundError:
        return None
    files = {file.name: file for file in studio.weights.face_restorers()}
    return str(files[found].record.path.parent)


def _lora(studio: Studio, record: Record) -> dict[str, Any]:
    metadata = studio.catalog.metadata(record)
    return {
        "name": record.stem,
        "alias": metadata.get("ss_output_name") or record.stem,
        "path": str(record.path),
        "metadata": metadata,
    }


def _embedding(facts: EmbeddingFacts) -> dict[str, Any]:
    return {
        "step": facts.step,
        "sd_checkpoint": facts.sd_checkpoint,
        "sd_checkpoint_name": facts.sd_checkpoint_name,
        "shape": facts.width,
        "vectors": facts.vectors,
    }
