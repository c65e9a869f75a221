"""Upscalers that extensions bring."""

from __future__ import annotations

from typing import Any

from PIL import Image

from webui.extensions.a1111.host import current

LANCZOS = Image.Resampling.LANCZOS
NEAREST = Image.Resampling.NEAREST


class Upscaler:
    """A family of upscalers.

    Attributes:
        scalers: Its members.
    """

    name: str | None = None
    model_path: str | None = None
    model_name: str | None = None
    model_url: str | None = None
    enable = True
    filter: Any = None
    model: Any = None
    user_path: str | None = None
    scalers: list[Any] = []
    tile = True

    def __init__(self, create_dirs: bool = False) -> None:
        self.mod_pad_h = None
        self.tile_size = current().options.data.get("ESRGAN_tile", 192)
        self.tile_pad = current().options.data.get("ESRGAN_tile_overlap", 8)
        if self.model_path is None and self.name:
            self.model_path = str(current().places.models / self.name)

    def do_upscale(self, img: Any, selected_model: str) -> Any:
        """A larger picture (PIL); made by the extension."""
        return img

    def upscale(self, img: Any, scale: float, selected_model: Any = None) -> Any:
        """A picture in the size wanted; made in several goes where one is too little."""
        width, height = int(img.width * scale) // 8 * 8, int(img.height * scale) // 8 * 8
        for _ in range(3):
            if img.width >= width and img.height >= height:
                break
            before = img.size
            img = self.do_upscale(img, selected_model)
            if img.size == before:
                break
        return img if img.size == (width, height) else img.resize((width, height), LANCZOS)

    def load_model(self, path: str) -> Any:
        """Open a file of weights; made by the extension."""

    def find_models(self, ext_filter: Any = None) -> list[str]:
        """Files of its own folder."""
        from . import modelloader

        return modelloader.load_models(self.model_path or "", self.model_url, ext_filter=ext_filter)


class UpscalerData:
    """A member of a family."""

    def __init__(
        self, name: str, path: Any, upscaler: Any = None, scale: int = 4, model: Any = None,
        sha256: str | None = None,
    ) -> None:  # fmt: skip
        self.name, self.data_path, self.scaler = name, path, upscaler
        self.local_data_path, self.scale, self.model, self.sha256 = path, scale, model, sha256


class UpscalerNone(Upscaler):
    """Leaves pictures as they are."""

    name = "None"


class UpscalerLanczos(Upscaler):
    """Plain resizing."""

    name = "Lanczos"

    def do_upscale(self, img: Any, selected_model: str) -> Any:
        return img.resize((img.width * 4, img.height * 4), LANCZOS)


class UpscalerNearest(Upscaler):
    """Resizing without any mixing of colours."""

    name = "Nearest"

    def do_upscale(self, img: Any, selected_model: str) -> Any:
        return img.resize((img.width * 4, img.height * 4), NEAREST)
