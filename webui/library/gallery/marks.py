"""What no picture file tells: stars, boards, owners, parents. Kept in lines of JSON as well.

The index is made anew when its file is damaged; this journal gives it back what people did.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from webui.library.files import write_whole

logger = logging.getLogger(__name__)
LINES_PER_MARK = 4
"""With more lines than this for each picture the journal is written anew."""


@dataclass(frozen=True)
class Lasting:
    """What is remembered of one picture, by the mark of its content.

    Attributes:
        stars: 0–5. user: Whose it is. parent: Mark of what it was made from; '' = none.
        boards: Pairs of a board's owner and name.
    """

    stars: int = 0
    user: str = ""
    parent: str = ""
    boards: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Lasting:
        """Read one back.

        Raises:
            ValueError, TypeError, KeyError: It is none.
        """
        boards = tuple((str(user), str(name)) for user, name in facts["boards"])
        return cls(int(facts["stars"]), str(facts["user"]), str(facts["parent"]), boards)


class Journal:
    """One line for each change, the last one counts. Nothing is lost by a crash but the last line.

    Args:
        path: Made with the first line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def add(self, changed: Iterable[tuple[str, Lasting]]) -> None:
        """Note the present state of pictures.

        Raises:
            OSError: It cannot be written.
        """
        lines = [_line(mark, lasting) for mark, lasting in changed]
        if not lines:
            return
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, "a", encoding="utf-8") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())

    def read(self) -> dict[str, Lasting]:
        """The last state of every picture; lines that cannot be read are passed over."""
        found: dict[str, Lasting] = {}
        bad = 0
        for line in self._lines():
            try:
                facts = json.loads(line)
                found[str(facts["mark"])] = Lasting.from_json(facts)
            except (ValueError, TypeError, KeyError, RecursionError):
                bad += 1
        if bad:
            logger.warning("%s has %d lines that cannot be read.", self._path, bad)
        return found

    def shorten(self) -> None:
        """Leave out what later lines replace, when it is much.

        Raises:
            OSError: It cannot be written; the old one stays.
        """
        with self._lock:
            count = sum(1 for _ in self._lines())
            found = self.read()
            if count > max(1000, LINES_PER_MARK * len(found)):
                kept = ((mark, one) for mark, one in found.items() if one != Lasting())
                lines = "".join(_line(mark, one) for mark, one in kept)
                write_whole(self._path, lines.encode())

    def _lines(self) -> Iterator[str]:
        try:
            with open(self._path, encoding="utf-8", errors="replace") as file:
                yield from file
        except FileNotFoundError:
            return


def _line(mark: str, lasting: Lasting) -> str:
    return json.dumps({"mark": mark, **asdict(lasting)}, ensure_ascii=False) + "\n"
