"""Shapes of requests and replies."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class PNGInfoRequest(BaseModel):
    """A picture whose recipe is wanted."""

    image: str = Field(title="Image")


class PNGInfoResponse(BaseModel):
    """Its recipe."""

    info: str = ""
    items: dict[str, Any] = {}
    parameters: dict[str, Any] = {}


class ImageToImageResponse(BaseModel):
    """Painted pictures, base64."""

    images: list[str] | None = None
    parameters: dict[str, Any] = {}
    info: str = ""


TextToImageResponse = ImageToImageResponse
