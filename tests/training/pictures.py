"""Small training sets on disk, for tests."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from webui.params.training import TrainingOptions

RED, GREEN, BLUE = (200, 30, 30), (30, 200, 30), (30, 30, 200)


def picture(
    path: Path, size: tuple[int, int] = (64, 64), colour: object = RED, caption: str | None = None
) -> Path:
    """A file with a picture whose left half is one colour and whose right half is black."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = "RGBA" if isinstance(colour, tuple) and len(colour) == 4 else "RGB"
    image = Image.new(mode, size, "black")
    image.paste(colour, (0, 0, size[0] // 2, size[1]))  # type: ignore[arg-type]
    image.save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


def options(folder: Path, **changes: object) -> TrainingOptions:
    """Options for pictures of 64 pixels."""
    values = {
        "train_data_dir": str(folder), "resolution": 64, "min_bucket_reso": 64,
        "max_bucket_reso": 128, "caption_extension": "txt", "output_dir": str(folder / "out"),
    }  # fmt: skip
    return TrainingOptions.model_validate({**values, **changes})
