"""Other U-Nets that extensions offer: none can be put in here, which is said at once."""

from __future__ import annotations

from webui.extensions.a1111.importing import PatchRefused

raise PatchRefused("It puts another U-Net into A1111's models, whose inside is not here")
