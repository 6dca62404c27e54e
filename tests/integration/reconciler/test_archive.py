"""`pressluft archive` on real repositories: what goes, what stays, and who still knows of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid5

import pytest
from typer.testing import CliRunner, Result

from reconciler.archive import archive_jobs, find_month
from reconciler.cli.main import app
from reconciler.core.world import StatusView
from reconciler.daemon import SystemClock, open_repo
from reconciler.errors import RepoUnusable
from reconciler.observe import Observer
from reconciler.ports import Tampering
from reconciler.service import NotFound, Service
from reconciler.settings import Settings
from schemas.document import dump
from schemas.state import JobStatus
from schemas.status import JobRecord, make_record_path
from tests.integration.git.people import Person, git, make_bare_repo
from tests.story import SITE_ID, SPACE, make_fleet_files

OLD, RECENT = datetime(2024, 5, 3, tzinfo=UTC), datetime.now(UTC).replace(microsecond=0)


def make_job(name: str, at: datetime, *, status: JobStatus = JobStatus.SUCCEEDED) -> JobRecord:
    """Make a job's record."""
    return JobRecord(
        id=uuid5(SPACE, name), status=status, site="acme", site_id=SITE_ID, created_at=at, updated_at=at
    )


JOBS = (
    make_job("old", OLD),
    make_job("older", OLD.replace(year=2023)),
    make_job("old-and-open", OLD, status=JobStatus.QUEUED),
    make_job("recent", RECENT),
)
ENDED = [job.id for job in JOBS if job.status is JobStatus.SUCCEEDED]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings over a fleet with jobs of years, of which one never ended."""
    repo = make_bare_repo(tmp_path / "fleet.git")
    files = {path: text.encode() for path, text in make_fleet_files().items()}
    files |= {make_record_path(job, site="acme"): dump(job) for job in JOBS}
    files["status/acme/ended.txt"] = "".join(f"{job_id}\n" for job_id in ENDED).encode()
    Person(repo, tmp_path / "clone").commit(files)
    return Settings(repo=str(repo), state_dir=tmp_path / "state")


@pytest.fixture
def call(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Call a command on that fleet."""
    monkeypatch.setenv("PRESSLUFT_STATE_DIR", str(settings.state_dir))
    return lambda *words: CliRunner().invoke(app, [*words, "--repo", settings.repo])


def list_files(settings: Settings) -> set[str]:
    """List the records of jobs in the tree, without their folders."""
    names = git(Path(settings.repo), "ls-tree", "-r", "--name-only", "main", "status/acme/jobs").splitlines()
    return {Path(name).stem for name in names}


def see(settings: Settings) -> StatusView:
    """Read what the reconciler would see."""
    with open_repo(settings, purpose="person") as repo:
        return Observer(repo).read_status(repo.fetch().status)


def test_ended_jobs_of_old_months_go_and_all_others_stay(
    settings: Settings, call: Callable[..., Result]
) -> None:
    before = see(settings)
    done = call("archive", "--older-than", "6")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("2 jobs archived by commit ")
    assert list_files(settings) == {str(uuid5(SPACE, name)) for name in ("old-and-open", "recent")}
    after = see(settings)
    assert (after.jobs, after.ended_by_site, after.damaged) == (
        before.jobs,
        before.ended_by_site,
        before.damaged,
    )
    assert git(Path(settings.repo), "log", "-1", "--format=%s", "main") == "archive 2 ended jobs"


def test_history_keeps_what_was_archived(settings: Settings, call: Callable[..., Result]) -> None:
    call("archive", "--older-than", "6")
    path = make_record_path(JOBS[0], site="acme")
    assert git(Path(settings.repo), "show", f"main~1:{path}") == dump(JOBS[0]).decode().strip()


def test_a_second_time_there_is_nothing_to_do(settings: Settings, call: Callable[..., Result]) -> None:
    call("archive", "--older-than", "6")
    tip = git(Path(settings.repo), "rev-parse", "main")
    assert json.loads(call("archive", "--older-than", "6", "--json").stdout) == {
        "archived": 0,
        "commit": None,
    }
    assert git(Path(settings.repo), "rev-parse", "main") == tip


def test_a_dry_run_counts_and_changes_nothing(settings: Settings, call: Callable[..., Result]) -> None:
    before = list_files(settings)
    assert call("archive", "--older-than", "6", "--dry-run").stdout == "2 jobs would be archived\n"
    assert list_files(settings) == before


def test_who_asks_for_an_archived_job_is_told_so(settings: Settings, call: Callable[..., Result]) -> None:
    call("archive", "--older-than", "6")
    done = call("job", str(ENDED[0]))
    assert done.exit_code == 1
    assert "is archived" in done.output
    with open_repo(settings, purpose="person") as repo:
        service = Service(repo, SystemClock())
        with pytest.raises(NotFound, match="there is no job"):
            service.find_job(UUID(int=1))


def test_what_somebody_else_wrote_is_never_signed_off(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_repo(settings, purpose="person") as repo:
        forged = Tampering(tip="a" * 40, trusted="b" * 40, sites=("acme",), detail="forged")
        monkeypatch.setattr(repo, "find_tampering", lambda _status: forged)
        with pytest.raises(RepoUnusable, match="let the daemon put it right"):
            archive_jobs(repo, SystemClock(), months=6)
    assert len(list_files(settings)) == len(JOBS)


@pytest.mark.parametrize(
    ("now", "months", "month"),
    [
        ("2026-11", 6, "2026-05"),
        ("2026-03", 3, "2025-12"),
        ("2026-12", 12, "2025-12"),
        ("2026-01", 1, "2025-12"),
    ],
)
def test_months_are_counted_over_years(now: str, months: int, month: str) -> None:
    assert find_month(datetime.fromisoformat(f"{now}-15").replace(tzinfo=UTC), months=months) == month
