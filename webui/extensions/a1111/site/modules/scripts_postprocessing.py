"""Steps of the Extras tab."""

from __future__ import annotations

from webui.extensions.a1111.postprocessing import (
    PostprocessedImage,
    ScriptPostprocessing,
)
from webui.extensions.a1111.postprocessing import (
    Shared as PostprocessedImageSharedInfo,
)

__all__ = ["PostprocessedImage", "PostprocessedImageSharedInfo", "ScriptPostprocessing"]
