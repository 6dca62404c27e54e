"""Two facades on one repo, one of them killed: what was promised is there, once, and nothing else."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid5

import httpx

from api.tokens import TokenFile
from reconciler.settings import Settings
from schemas.document import read_intent
from tests.integration.api.living import SITE, SITE_ID, STAGING_ID, make_settings, make_small_fleet
from tests.integration.api.serving import Serving, serve

REQUESTS = 200
AT_A_TIME = 20


def test_one_of_two_facades_killed_among_two_hundred_requests_breaks_no_promise(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, make_small_fleet(tmp_path))
    token = TokenFile(settings.token_file).create("ci", sites=[], may_write=True, now=datetime.now(UTC))
    with serve(settings) as first, serve(settings) as second:
        answered = itertools.count()

        def ask(number: int) -> tuple[str, int]:
            """Ask until somebody promises; the odd ones begin at the facade that is killed."""
            order = itertools.cycle((second, first) if number % 2 else (first, second))
            for tries, serving in enumerate(order, start=1):
                job_id = try_once(serving, token, f"key-{number}")
                if next(answered) == REQUESTS // 3:
                    second.kill()
                if job_id:
                    return job_id, tries
            raise AssertionError

        with ThreadPoolExecutor(AT_A_TIME) as pool:
            found = list(pool.map(ask, range(REQUESTS)))
        promised = [job_id for job_id, _ in found]
        assert second.process.poll() is not None
        assert any(tries > 1 for _, tries in found), "the kill hit requests that were under way"
        for job_id in promised:
            answer = httpx.get(f"{first.url}/api/jobs/{job_id}", headers={"Authorization": f"Bearer {token}"})
            assert answer.json()["status"] == "queued"
    check_promises(settings, promised)


def try_once(serving: Serving, token: str, key: str) -> str | None:
    """Ask one facade; `None` if it does not promise."""
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
    try:
        answer = httpx.post(
            f"{serving.url}/api/environments/{STAGING_ID}/drift-check", headers=headers, timeout=30
        )
    except httpx.TransportError:
        return None
    if answer.status_code == 503:
        time.sleep(0.05)
        return None
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["job_id"]
    return job_id


def check_promises(settings: Settings, promised: list[str]) -> None:
    """Compare what was promised with what is in git."""
    expected = {str(uuid5(SITE_ID, f"ci (REST token)\nkey-{number}")) for number in range(REQUESTS)}
    assert set(promised) == expected, "each key is one job, whichever facade was asked"
    told = git(settings, "log", "--format=%(trailers:key=Pressluft-Job,valueonly)", "main").split()
    assert Counter(told) == Counter(expected), (
        "each promise has its commit, no commit is for nothing or twice"
    )
    names = git(settings, "ls-tree", "--name-only", f"main:intents/{SITE}").split()
    files = {name: git(settings, "show", f"main:intents/{SITE}/{name}").encode() for name in names}
    ids = {str(read_intent(data, path=f"intents/{SITE}/{name}").metadata.id) for name, data in files.items()}
    assert ids == expected
    git(settings, "fsck", "--strict", "--no-dangling")


def git(settings: Settings, *words: str) -> str:
    """Run git on the repo. Raises `CalledProcessError`."""
    return subprocess.run(
        ["git", "-C", settings.repo, *words], check=True, capture_output=True, text=True
    ).stdout
