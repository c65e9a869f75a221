"""What all requests share: their base, the types of their fields, how pictures are written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_PROMPT_CHARACTERS = 200_000
MAX_SEED = 2**64 - 1
PictureKey = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""An input picture: the sha256 of its file, kept in the data folder's inputs."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Prompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)]


class Params(BaseModel):
    """Base of all requests: frozen, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> str:
        """The request as JSON text, as stored in a job row."""
        return self.model_dump_json()


class Output(Params):
    """How finished pictures are written.

    Attributes:
        save: Write into the outputs folders; otherwise pictures are only handed back.
        grid: Also save a grid when there is more than one picture.
        format: png, jpg, webp or avif.
        quality: 1–100, for jpg, webp and avif.
        lossless: For webp.
        embed_infotext: Put the recipe inside the picture.
        save_text: Write the recipe beside the picture as .txt too.
        filename_pattern, directory_pattern: A1111 patterns (``[seed]``, ``[date]`` …).
        prompt_words: Words kept by the pattern ``[prompt_words]``.
        folder: Write there instead of the outputs folder (a batch's own); empty = outputs.
        file_stem: Name pictures so instead of by the patterns (a batch keeps its files' names);
            one that is taken gets ``-1``, ``-2`` … behind it.
    """

    save: bool = True
    grid: bool = False
    format: Literal["png", "jpg", "webp", "avif"] = "png"
    quality: int = Field(default=80, ge=1, le=100)
    lossless: bool = False
    embed_infotext: bool = True
    save_text: bool = False
    filename_pattern: str = ""
    directory_pattern: str = "[date]"
    prompt_words: int = Field(default=8, ge=0, le=1000)
    add_number: bool = True
    grid_rows: int = Field(default=-1, ge=-1, le=100)
    folder: str = ""
    file_stem: str = ""
