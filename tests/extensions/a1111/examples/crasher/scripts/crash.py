"""Fails wherever it is called."""

from modules import scripts


class Crasher(scripts.Script):
    def title(self):
        return "Crasher"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        raise RuntimeError("ui is broken")


def crash(self, p, *args, **kwargs):
    raise RuntimeError("this moment is broken")


for name in (
    "setup",
    "before_process",
    "process",
    "before_process_batch",
    "process_batch",
    "postprocess_batch",
    "postprocess_image",
    "postprocess",
):
    setattr(Crasher, name, crash)
