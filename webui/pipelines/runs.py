"""Which run paints which request."""

from __future__ import annotations

from typing import Any

from webui.errors import ParamsError
from webui.params import ImageToImage, Painting, TextToImage
from webui.pipelines.image_to_image import ImageToImageRun
from webui.pipelines.loopback import LoopbackRun
from webui.pipelines.outpaint import OutpaintRun
from webui.pipelines.painting import PaintingRun
from webui.pipelines.sd_upscale import SdUpscaleRun
from webui.pipelines.text_to_image import TextToImageRun


def run_class(params: Painting) -> type[PaintingRun[Any]]:
    """The class whose ``paint`` makes the pictures of a request.

    Raises:
        ParamsError: Nothing here paints that kind.
    """
    if isinstance(params, TextToImage):
        return TextToImageRun
    if not isinstance(params, ImageToImage):
        raise ParamsError(f"Nothing here paints a {type(params).__name__}.", field="kind")
    if params.outpaint is not None:
        return OutpaintRun
    if params.loopback is not None:
        return LoopbackRun
    if params.sd_upscale is not None:
        return SdUpscaleRun
    return ImageToImageRun
