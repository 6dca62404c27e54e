"""How long a commit waits for its claim: a real bare repo, real pushes, the daemon's own watcher, faked playbooks.

100 environments, 5,000 past jobs with their intents still there. From the moment the branch moves to the person's
commit to the moment it moves on to the claim, seen from a third process. Issue: 300 ms in the median.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid5

from reconciler.adapters.git_repo import Identity, open_fleet_repo
from reconciler.ports import Branch, CommitMessage
from schemas.document import dump
from schemas.intent import Backup, make_job_id
from schemas.state import IntentKind, JobStatus, JobType
from schemas.status import EnvironmentRecord, JobRecord, SiteRecord, make_record_path
from tests.story import make_environment, make_fleet_files, make_site_files

SITES, JOBS_PER_SITE, ROUNDS = 50, 100, 30
SPACE = UUID("5a8f0f64-6f3f-4d0c-9f5a-8d9a3f1b2c3d")
LONGEST_AGO = timedelta(days=200)
WANTED_MS = 300.0
QUIET_SECONDS = 0.5


def test_a_commit_is_claimed_within_300_ms(tmp_path: Path) -> None:
    bare, clone = tmp_path / "fleet.git", tmp_path / "clone"
    git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    fill(bare, tmp_path / "filling")
    git("clone", "--quiet", str(bare), str(clone))
    with run_daemon(bare, tmp_path / "state"):
        measure_claim(bare, clone, ROUNDS)  # the first look reads everything
        waits = [measure_claim(bare, clone, number) for number in range(ROUNDS)]
    median, worst = statistics.median(waits), max(waits)
    sys.stdout.write(f"\ncommit to claim, {ROUNDS} commits: median {median:.0f} ms, worst {worst:.0f} ms\n")
    assert median < WANTED_MS


def git(*arguments: str, folder: Path | None = None) -> str:
    """Run git and return what it said."""
    place = ("-C", str(folder)) if folder else ()
    names = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    done = subprocess.run(["git", *place, *names, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def fill(bare: Path, state_dir: Path) -> None:
    """Write a fleet with its past in one commit."""
    files: dict[str, bytes | None] = {
        path: text.encode() for path, text in make_fleet_files().items() if "acme" not in path
    }
    for number in range(SITES):
        files |= dict(make_site(number))
    with open_fleet_repo(
        str(bare),
        branch="main",
        status_branch=None,
        signing_key=None,
        identity=Identity("Ada", "ada@example.org"),
        state_dir=state_dir,
        ssh_key=None,
        known_hosts=None,
    ) as repo:
        repo.push_changes(Branch.INTENTS, expected=None, changes=files, message=CommitMessage("the past"))
    git("gc", "--quiet", folder=bare)


def make_site(number: int) -> Iterator[tuple[str, bytes]]:
    """Make one site of two environments and its past."""
    site, site_id = f"site-{number:03}", uuid5(SPACE, f"site-{number}")
    now = datetime.now(UTC)
    for path, text in make_site_files(site, site_id).items():
        yield path, text.encode()
    for name in ("production", "staging"):
        env_id = uuid5(site_id, name)
        text = make_environment(name, env_id, source="null" if name == "production" else "production")
        yield f"sites/{site}/environments/{name}.yaml", text.replace("acme", site).encode()
        record = EnvironmentRecord(id=env_id, name=name, site_id=site_id, created_at=now, updated_at=now)
        yield make_record_path(record, site=site), dump(record)
    primary = uuid5(site_id, "production")
    site_record = SiteRecord(
        id=site_id, name=site, primary_environment_id=primary, created_at=now, updated_at=now
    )
    yield make_record_path(site_record, site=site), dump(site_record)
    ended: list[UUID] = []
    for job_number in range(JOBS_PER_SITE):
        at = now - LONGEST_AGO * (job_number + 1) / JOBS_PER_SITE
        intent = Backup.model_validate(
            {"metadata": {"name": f"past-{job_number}"}, "spec": {"environment": "production"}}
        )
        path, blob = f"intents/{site}/past-{job_number}.yaml", dump(intent)
        job = JobRecord(
            id=make_job_id(site_id, intent),
            status=JobStatus.SUCCEEDED,
            job_type=JobType.BACKUP_CREATE,
            site=site,
            site_id=site_id,
            environment_id=primary,
            intent_kind=IntentKind.BACKUP,
            intent_path=path,
            intent_name=intent.metadata.name,
            finished_at=at,
            created_at=at,
            updated_at=at,
        )
        ended.append(job.id)
        yield path, blob
        yield make_record_path(job, site=site), dump(job)
    yield f"status/{site}/ended.txt", "".join(f"{job_id}\n" for job_id in ended).encode()


@contextmanager
def run_daemon(bare: Path, state_dir: Path) -> Iterator[None]:
    """Run the daemon in a process of its own."""
    log = state_dir.with_suffix(".log")
    arguments = [sys.executable, "-m", "tests.bench.claim_daemon", str(bare), str(state_dir)]
    with log.open("wb") as stream:
        process = subprocess.Popen(arguments, stdout=stream, stderr=stream)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def read_tip(bare: Path) -> str:
    """Read where the branch stands, loose or packed."""
    loose = bare / "refs/heads/main"
    return loose.read_text().strip() if loose.exists() else git("rev-parse", "main", folder=bare)


def wait_until_idle(bare: Path) -> None:
    """Wait until the branch has not moved for a while."""
    last, since = read_tip(bare), time.monotonic()
    deadline = since + 120
    while time.monotonic() - since < QUIET_SECONDS and time.monotonic() < deadline:
        time.sleep(0.05)
        if read_tip(bare) != last:
            last, since = read_tip(bare), time.monotonic()


def measure_claim(bare: Path, clone: Path, number: int) -> float:
    """Push one intent as a person and return the milliseconds until the branch moves on from it."""
    site = f"site-{number % SITES:03}"
    git("pull", "--quiet", "--ff-only", folder=clone)
    text = "apiVersion: pressluft/v1\nkind: Backup\nmetadata: {name: NAME}\nspec: {environment: production}\n"
    path = clone / "intents" / site / f"now-{number}.yaml"
    path.write_text(text.replace("NAME", path.stem))
    git("add", str(path), folder=clone)
    git("commit", "--quiet", "--message", f"Back up {site}", folder=clone)
    mine = git("rev-parse", "HEAD", folder=clone)
    push = subprocess.Popen(["git", "-C", str(clone), "push", "--quiet"])
    landed = wait_for(bare, lambda tip: tip == mine)
    claimed = wait_for(bare, lambda tip: tip != mine)
    push.wait(timeout=60)
    wait_until_idle(bare)
    first = git("log", "--reverse", "--format=%s", f"{mine}..main", folder=bare).splitlines()[0]
    assert first.startswith("backup started"), first
    return (claimed - landed) * 1000


def wait_for(bare: Path, is_reached: Callable[[str], bool]) -> float:
    """Look every millisecond and return the moment when the branch stood as wanted."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if is_reached(read_tip(bare)):
            return time.monotonic()
        time.sleep(0.001)
    raise TimeoutError("the branch did not move")
