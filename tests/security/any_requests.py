"""Requests that the API's own description allows, and such that it forbids: none is answered 5xx.

    .venv/bin/python -m tests.security.any_requests 1000

sends so many to a server with a model process that only pretends, and tells what came back.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core import NOT_SET

from tests.api.clients import BASE_URL, FAKE_WORKER
from webui.api.app import build_api
from webui.settings import read_settings
from webui.studio import Studio

SEED = 20_26


@dataclass
class Outcome:
    """What came back.

    Attributes:
        statuses: How often each. crashes: Method, path and answer of each 5xx, which is never
            the answer to a caller's mistake.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    crashes: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def cases(self) -> int:
        return sum(self.statuses.values())


def send_any(app: FastAPI, each: int) -> Outcome:
    """Send to every operation ``each`` requests that fit its description and as many that do not,
    as far as there are so many; the same ones in every run."""
    outcome = Outcome()
    client = TestClient(app, base_url=BASE_URL, raise_server_exceptions=False)
    for found in schemathesis.openapi.from_dict(app.openapi()).get_all_operations():
        operation: Any = found.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            strategy = operation.as_strategy(generation_mode=mode)

            @seed(SEED)
            @settings(
                max_examples=each, database=None, deadline=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(case=strategy)
            def send(case: Case) -> None:
                _send(client, case, outcome)

            try:
                send()
            except Unsatisfiable:
                continue  # there is nothing to be wrong in such a request
    return outcome


def _send(client: TestClient, case: Case, outcome: Outcome) -> None:
    body: dict[str, Any] = {}
    if isinstance(case.body, bytes):
        body = {"content": case.body, "headers": {"Content-Type": "application/json"}}
    elif case.body is not NOT_SET:
        body = {"json": case.body}
    try:
        answer = client.request(
            case.method, case.formatted_path, params=dict(case.query or {}), **body
        )
    except (TypeError, ValueError):
        return  # no client can write this down
    outcome.statuses[answer.status_code] += 1
    if answer.status_code >= 500:
        outcome.crashes.append((case.method, case.formatted_path, answer.text[:400]))


def main(count: int) -> int:
    """Send at least ``count`` requests; 1 when something crashed."""
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(
            read_settings(["--nowebui", "--data-dir", folder], {}),
            worker_command=[sys.executable, "-m", FAKE_WORKER],
        )
        studio.start()
        app = build_api(studio)
        operations = sum(len(methods) for methods in app.openapi()["paths"].values())
        began = time.monotonic()
        outcome = send_any(app, each=2 * count // operations + 1)
        studio.stop()
    print(f"{outcome.cases} requests in {time.monotonic() - began:.0f} s: {dict(outcome.statuses)}")
    for crash in outcome.crashes:
        print(*crash)
    return 1 if outcome.crashes else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
