"""Gradio's page with one thing taken from it: it fetches nothing from other servers; and one put to
it: handlers of extensions are called within their fence."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import gradio as gr
from gradio.blocks import BlockFunction
from gradio_client.utils import is_file_obj_with_meta, is_http_url_like, traverse


class PageBlocks(gr.Blocks):
    """Whatever component a value is for, Gradio takes one that says it is a file at an address and
    fetches that file, of any size, before the handler is asked. Here such a value is refused.

    Attributes:
        fence: Around the calls of all handlers: from an event and how Gradio calls it to its
            answer. None = there is none.
    """

    fence: Callable[[BlockFunction, Callable[..., Awaitable[Any]]], Awaitable[Any]] | None = None

    async def call_function(
        self, block_fn: BlockFunction | int, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Calls a handler."""
        event = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        usual = super().call_function

        async def call(event: BlockFunction) -> dict[str, Any]:
            return await usual(event, *args, **kwargs)

        return await (call(event) if self.fence is None else self.fence(event, call))

    def validate_inputs(self, block_fn: BlockFunction, inputs: list[Any]) -> None:
        """Looked at before Gradio looks at the values.

        Raises:
            gr.Error: One of them is a file at an address.
        """
        super().validate_inputs(block_fn, inputs)
        traverse(inputs, _refuse_address, is_file_obj_with_meta)


def _refuse_address(file: dict[str, Any]) -> dict[str, Any]:
    if is_http_url_like(file["path"]):
        raise gr.Error("Files are not fetched by address. Upload them.", print_exception=False)
    return file
