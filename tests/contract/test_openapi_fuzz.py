"""Schemathesis attacks a living facade through its contract, with all checks, as everybody who may come.

A run of five thousand requests takes minutes: `pytest tests/contract/test_openapi_fuzz.py` with
PRESSLUFT_FUZZ_EXAMPLES=60 (see docs/reference/api-contract.md); the suite keeps a small one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.__main__ import CONTRACT
from reconciler.settings import CHECKOUT
from tests.integration.api.living import (
    PRODUCTION_ID,
    SITE_ID,
    STAGING_ID,
    Living,
    live,
    make_failed,
    make_settings,
    make_small_fleet,
)

EXAMPLES = os.environ.get("PRESSLUFT_FUZZ_EXAMPLES", "3")
OUTSIDE = r"^/(healthz|readyz|hooks/git)$"

CONFIG = """\
request-timeout = 60

[dictionaries]
sites = {{ values = ["{site}"] }}
environments = {{ values = ["{staging}", "{production}"] }}
jobs = {{ values = [{jobs}] }}

[parameters]
site_id = {{ dictionary = "sites", probability = 0.5 }}
environment_id = {{ dictionary = "environments", probability = 0.7 }}
job_id = {{ dictionary = "jobs", probability = 0.5 }}
target_environment_id = {{ dictionary = "environments", probability = 0.7 }}

# Nobody carries a reset out here: 503 says that it goes on (spec.md §8).
[[operations]]
include-path-regex = "/reset$"
checks.not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "503"]
"""


@pytest.fixture
def attacked(tmp_path: Path) -> Iterator[Living]:
    """A facade with something of everything, one failed environment included."""
    with live(make_settings(tmp_path, make_small_fleet(tmp_path))) as served:
        served.change(make_failed(datetime.now(UTC) - timedelta(minutes=1)))
        yield served


def attack(living: Living, *words: str, base: str = "/api") -> None:
    """Run schemathesis, and make sure that it found nothing; `-s` shows how much it sent."""
    folder = living.settings.state_dir
    jobs = ", ".join(f'"{job.id}"' for job in living.facade.desk.service.list_jobs(limit=3))
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG.format(site=SITE_ID, staging=STAGING_ID, production=PRODUCTION_ID, jobs=jobs))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
            *("run", str(CHECKOUT / CONTRACT), "--url", f"{living.url}{base}", "--checks", "all"),
            *("--max-examples", EXAMPLES, "--no-color", "--warnings", "off", *words),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    (counted,) = re.findall(r"(\d+) generated, (\d+) passed", done.stdout)
    sys.stdout.write(f"\n{counted[0]} requests")
    assert int(counted[0]) > 0


def test_the_admin_finds_nothing_that_is_not_in_the_contract(attacked: Living) -> None:
    with attacked.admin() as admin:
        cookie = f"Cookie: session_token={admin.cookies['session_token']}"
    without_logout = r"^/(healthz|readyz|hooks/git|logout)$"  # it would end the attack
    attack(
        attacked,
        *("--exclude-path-regex", without_logout, "-H", cookie),
        *("--generation-with-security-parameters", "false"),
    )


def test_a_program_with_a_token_for_one_site_finds_nothing(attacked: Living) -> None:
    bearer = f"Authorization: Bearer {attacked.writer_token}"
    attack(
        attacked,
        *("--exclude-path-regex", OUTSIDE, "-H", bearer),
        *("--generation-with-security-parameters", "false"),
    )


def test_proofs_that_are_made_up_open_nothing(attacked: Living) -> None:
    bearer = f"Authorization: Bearer {attacked.reader_token}"
    attack(attacked, "--exclude-path-regex", OUTSIDE, "-H", bearer, "--phases", "coverage,fuzzing")


def test_nobody_finds_nothing(attacked: Living) -> None:
    attack(attacked, "--exclude-path-regex", OUTSIDE)
    assert attacked.list_intents() == {}


def test_what_is_open_to_all_keeps_to_the_contract_as_well(attacked: Living) -> None:
    attack(attacked, "--include-path-regex", OUTSIDE, "--phases", "coverage,fuzzing", base="")
