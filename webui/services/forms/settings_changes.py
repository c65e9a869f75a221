"""Changes of settings, by whichever door: checked, made all or none, and taken back.

Settings are the options and what the fields of a fresh page begin with. All browsers share them,
so they share one history, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from webui.errors import SettingsError
from webui.option_values import checked_value
from webui.options import OPTION_DEFAULTS, Options
from webui.services.forms.history import FormHistory
from webui.services.forms.start_values import keep_start_values, start_values
from webui.services.resolve import Known, TextToImageRequest, resolve

START_TABS = ("txt2img", "img2img")
NOT_IN_THE_HISTORY = ("sd_model_checkpoint", "sd_vae", "CLIP_stop_at_last_layers")
"""What is chosen at every moment in the page's top row is not taken back with the settings."""
NO_VAE_FILE = ("Automatic", "None")

Values = dict[str, Any]


class SettingsChanges:
    """Changes the settings of an installation.

    Args:
        options: What is changed. data: The data folder, where start values lie.
        find_vae: Raises for a VAE that is not there.
        is_frozen: Nothing may be changed (``--freeze-settings``).

    Option values are named by their keys, start values by tab and field: ``txt2img/steps``.
    """

    def __init__(
        self,
        options: Options,
        data: Path,
        find_vae: Callable[[str], object],
        *,
        is_frozen: bool = False,
    ) -> None:
        self.is_frozen = is_frozen
        self._options = options
        self._data = data
        self._find_vae = find_vae
        self._history = FormHistory(on_its_way_seconds=0.0)

    def checked(self, values: Mapping[str, Any]) -> Values:
        """Option values as their own types; those that are the present ones are left out unseen,
        so that what was read can be sent back whole even where it has become wrong since.

        Raises:
            ParamsError: A value out of range, or one that no request could be painted with.
            CheckpointNotFoundError: An unknown VAE.
        """
        checked = {
            key: checked_value(key, value)
            for key, value in values.items()
            if not self._is_present(key, value)
        }
        if checked.get("sd_vae", "None") not in NO_VAE_FILE:
            self._find_vae(checked["sd_vae"])
        if checked:
            _check_that_one_can_paint(checked)
        return checked

    def change(
        self, options: Mapping[str, Any], starts: Mapping[str, Any] | None = None
    ) -> list[str]:
        """Change settings and save them. A fault in one changes none.

        Args:
            options: By key, None for the default. starts: By tab and field, as they fit their
                fields; None for the form's own default.
        Returns:
            The names of those that are other than before.
        Raises:
            ParamsError, CheckpointNotFoundError: As ``checked``.
            SettingsError: Settings are frozen, or cannot be saved.
        """
        self._refuse_when_frozen()
        checked = self.checked(options)
        before = self._present()
        self._history.keep("", "", before, before)
        self._put(checked, starts or {})
        now = self._present()
        self._history.keep("", "", before, now)
        changed = {**checked, **(starts or {})}
        return [name for name in changed if before.get(name) != now.get(name)]

    def can_step(self, by: int) -> bool:
        """True when there is a change to take back (−1) or to make again (+1)."""
        return not self.is_frozen and self._history.can_step("", "", by)

    def step(self, by: int) -> list[str]:
        """Take the last change back (−1), or make it again (+1); names of what changed.

        Raises:
            SettingsError: Settings are frozen, or cannot be saved.
        """
        self._refuse_when_frozen()
        if by < 0:  # what others changed since the last step is a change, too
            now = self._present()
            self._history.keep("", "", now, now)
        values = self._history.step("", "", by) or {}
        starts = {name: value for name, value in values.items() if "/" in name}
        self._put({k: v for k, v in values.items() if k not in starts}, starts)
        return list(values)

    def _refuse_when_frozen(self) -> None:
        if self.is_frozen:
            raise SettingsError(
                "The options were frozen at the start (--freeze-settings).",
                "Restart without that flag.",
            )

    def _is_present(self, key: str, value: Any) -> bool:
        present = self._options[key]
        return type(value) is type(present) and value == present

    def _present(self) -> Values:
        """All that has a history; a field without a start value is not named."""
        options = self._options.as_dict()
        starts = {
            f"{tab}/{name}": value
            for tab in START_TABS
            for name, value in start_values(self._data, tab).items()
        }
        return {k: v for k, v in options.items() if k not in NOT_IN_THE_HISTORY} | starts

    def _put(self, options: Mapping[str, Any], starts: Mapping[str, Any]) -> None:
        for tab in START_TABS:
            own = {k[len(tab) + 1 :]: v for k, v in starts.items() if k.startswith(f"{tab}/")}
            if own:
                keep_start_values(self._data, tab, own)
        for key, value in options.items():
            self._options.set(key, value)
        if options:
            self._options.save()


def _check_that_one_can_paint(changes: Mapping[str, Any]) -> None:
    """Refuse values that would make every later request fail.

    Raises:
        ParamsError: From resolving a plain request with these options.
    """
    known = Known(find_checkpoint=lambda alias: alias or "any")
    resolve(TextToImageRequest(), {**OPTION_DEFAULTS, **changes}, known)
