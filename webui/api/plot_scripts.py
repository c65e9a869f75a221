"""A1111's scripts that make many pictures of one request: their arguments, and what they mean.

Source:
    Titles, arguments, their order and defaults: A1111 1.10's xyz_grid.py, prompt_matrix.py and
    prompts_from_file.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from webui.api.schemas import PaintingBody
from webui.api.script_arguments import Argument, Script
from webui.errors import ParamsError
from webui.services.plots.axes import NOTHING, axes_of, find_axis
from webui.services.plots.scripts import PromptList, PromptMatrix, XyzPlot, script_from

XYZ, MATRIX, LIST = "x/y/z plot", "prompt matrix", "prompts from file or textbox"


def _xyz_arguments(tab: str) -> tuple[Argument, ...]:
    labels = tuple(axis.label for axis in axes_of(tab))
    axes: list[Argument] = []
    for letter in "XYZ":
        first = labels[1] if letter == "X" else NOTHING
        axes += [
            Argument(f"{letter.lower()}_type", f"{letter} type", first, "choice", choices=labels),
            Argument(f"{letter.lower()}_values", f"{letter} values", "", "text"),
            Argument(f"{letter.lower()}_chosen", f"{letter} values", (), "texts"),
        ]
    return (
        *axes,
        Argument("has_legend", "Draw legend", True, "bool"),
        Argument("include_lone_images", "Include Sub Images", False, "bool"),
        Argument("include_sub_grids", "Include Sub Grids", False, "bool"),
        Argument("keep_random_seeds", "Keep -1 for seeds", False, "bool"),
        Argument("vary_seeds_x", "Vary seeds for X", False, "bool"),
        Argument("vary_seeds_y", "Vary seeds for Y", False, "bool"),
        Argument("vary_seeds_z", "Vary seeds for Z", False, "bool"),
        Argument("margin", "Grid margins (px)", 0, "int", 0, 500, 2),
        Argument("is_written", "Use text inputs instead of dropdowns", False, "bool"),
    )


_MATRIX_ARGUMENTS = (
    Argument("put_at_start", "Put variable parts at start of prompt", False, "bool"),
    Argument("different_seeds", "Use different seed for each picture", False, "bool"),
    Argument("prompt", "Select prompt", "positive", "choice", choices=("positive", "negative")),
    Argument("delimiter", "Select joining char", "comma", "choice", choices=("comma", "space")),
    Argument("margin", "Grid margins (px)", 0, "int", 0, 500, 2),
)
_LIST_ARGUMENTS = (
    Argument("iterate_seed", "Iterate seed every line", False, "bool"),
    Argument("same_seed", "Use same random seed for all lines", False, "bool"),
    Argument("position", "Insert prompts at the", "start", "choice", choices=("start", "end")),
    Argument("text", "List of prompt inputs", "", "text"),
)
PLOT_SCRIPTS = tuple(
    Script(name, is_alwayson=False, is_img2img=is_img2img, arguments=arguments)
    for is_img2img in (False, True)
    for name, arguments in (
        (MATRIX, _MATRIX_ARGUMENTS),
        (LIST, _LIST_ARGUMENTS),
        (XYZ, _xyz_arguments("img2img" if is_img2img else "txt2img")),
    )
)


def read_plot_script(
    body: PaintingBody, script: Script
) -> XyzPlot | PromptMatrix | PromptList | None:
    """What a request's script asks for, None when its script is none of these.

    Raises:
        ParamsError: An argument that cannot be read or is out of range.
    """
    meaning = _MEANINGS.get(script.name)
    if meaning is None:
        return None
    arguments = script.read(body.script_args or (), "script_args")
    try:
        return script_from(meaning(arguments, "img2img" if script.is_img2img else "txt2img"))
    except ParamsError as err:
        raise ParamsError(f"{script.name}: {err.message}", err.hint, field="script_args") from err


def _xyz(arguments: dict[str, Any], tab: str) -> dict[str, Any]:
    is_written = arguments.pop("is_written")
    axes: dict[str, Any] = {}
    for letter in "xyz":
        label, text = arguments.pop(f"{letter}_type"), arguments.pop(f"{letter}_values")
        chosen = arguments.pop(f"{letter}_chosen")
        is_menu = find_axis(label, tab).choices is not None and not is_written
        axes[letter] = {"axis": label, "values": chosen if is_menu and chosen else text}
    return {"kind": "xyz", **axes, **arguments}


_MEANINGS: dict[str, Callable[[dict[str, Any], str], dict[str, Any]]] = {
    XYZ: _xyz,
    MATRIX: lambda arguments, tab: {
        "kind": "matrix", "include_lone_images": True, **arguments
    },
    LIST: lambda arguments, tab: {"kind": "list", **arguments},
}  # fmt: skip
