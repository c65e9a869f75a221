"""Keys for sites that want one: kept in a file that only its owner can read, never shown again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import httpx

from webui.errors import ParamsError

FILE_NAME: Final = "keys.json"
SITES: Final = {
    "huggingface.co": ("huggingface.co", "hf.co"),
    "civitai.com": ("civitai.com", "civitai.green", "civitai.red"),
    "modelscope.cn": ("modelscope.cn", "www.modelscope.cn", "modelscope.ai"),
}
"""Sites people have keys for, and the hosts that are theirs."""
ENVIRONMENT: Final = {
    "huggingface.co": ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
    "civitai.com": ("CIVITAI_API_KEY", "CIVITAI_TOKEN"),
    "modelscope.cn": ("MODELSCOPE_API_TOKEN",),
}


class Keys:
    """The keys of this installation.

    Args:
        file: Where they are kept; None = only those of the environment.
        environ: The environment, whose keys are used where none is kept.
    """

    def __init__(self, file: Path | None, environ: Mapping[str, str] | None = None) -> None:
        self._file = file
        self._environ = os.environ if environ is None else environ

    def __repr__(self) -> str:
        return f"Keys for {', '.join(sorted(self.sites())) or 'no site'}"

    def sites(self) -> frozenset[str]:
        """Sites that there is a key for."""
        return frozenset(site for site in SITES if self._key(site))

    def keep(self, site: str, key: str) -> None:
        """Keep a key; an empty one takes the kept one away.

        Raises:
            ParamsError: No such site, no possible key, or the file cannot be written.
        """
        site, key = site.strip().lower(), key.strip()
        if site not in SITES:
            raise ParamsError(
                f"There are no keys for {site!r}.", f"These sites have keys: {', '.join(SITES)}."
            )
        if len(key) > 500 or not key.isascii() or not key.isprintable() or " " in key:
            raise ParamsError("That is not a key.", "Copy it from your account's page once more.")
        kept = self._kept()
        kept.pop(site, None)
        if key:
            kept[site] = key
        self._write(kept)

    def header_for(self, url: httpx.URL) -> dict[str, str]:
        """See ``client.KeyRing``: over https alone, to the site's own hosts alone."""
        if url.scheme != "https":
            return {}
        for site, hosts in SITES.items():
            if url.host in hosts:
                key = self._key(site)
                return {"Authorization": f"Bearer {key}"} if key else {}
        return {}

    def _key(self, site: str) -> str:
        given = (self._environ.get(name, "").strip() for name in ENVIRONMENT[site])
        return self._kept().get(site) or next(filter(None, given), "")

    def _kept(self) -> dict[str, str]:
        if self._file is None:
            return {}
        try:
            kept = json.loads(self._file.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return {site: str(key) for site, key in kept.items()} if isinstance(kept, dict) else {}

    def _write(self, kept: Mapping[str, str]) -> None:
        assert self._file is not None, "only a ring with a file is given keys"
        fresh = self._file.with_name(f"{self._file.name}.new")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            fresh.unlink(missing_ok=True)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(dict(kept), file)
            os.replace(fresh, self._file)
        except OSError as err:
            raise ParamsError(
                f"The key could not be kept in {self._file}: {err.strerror or err}.",
                "Make the data folder writable.",
            ) from err
