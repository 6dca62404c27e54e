"""The index that was updated step by step says what one that was made afresh says."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from uuid import UUID, uuid5

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reconciler.index import Index, JobFilter
from reconciler.shelf import Kind
from schemas.document import dump
from schemas.state import JobStatus
from schemas.status import JobRecord, make_record_path
from tests.big_fleet import BEGINNING, SPACE, make_backup, make_job
from tests.fakes import FakeFleetRepo
from tests.story import make_fleet_files, make_intent, make_site_files

NOW = BEGINNING + timedelta(days=400)
SITES = ("acme", "other")


class Life(RuleBasedStateMachine):
    """Commits of people and of the reconciler, in any order."""

    @initialize()
    def begin(self) -> None:
        """Make the fleet."""
        self.repo = FakeFleetRepo()
        files = {**make_fleet_files(), **make_site_files("other", uuid5(SPACE, "other"))}
        self.commit({path: text.encode() for path, text in files.items()})
        self.index = Index(self.repo)
        self.jobs: dict[UUID, JobRecord] = {}

    def commit(self, changes: dict[str, bytes | None]) -> None:
        """Commit as anybody."""
        self.repo.commit_as_person(changes)

    @rule(number=st.integers(0, 9), site=st.sampled_from(SITES), days=st.integers(0, 90))
    def record_job(self, number: int, site: str, days: int) -> None:
        """Record a job, or change its record."""
        job = make_job(number, site, BEGINNING + timedelta(days=days))
        known = self.jobs.get(job.id)
        if known is None:
            self.jobs[job.id] = known = job.model_copy(update={"status": JobStatus.RUNNING})
        elif known.status is JobStatus.RUNNING:
            self.jobs[job.id] = known = known.model_copy(update={"status": JobStatus.SUCCEEDED})
        ended = [job.id for job in self.jobs.values() if job.site == known.site and job.status != "running"]
        self.commit(
            {
                make_record_path(known, site=known.site): dump(known),
                f"status/{known.site}/ended.txt": "".join(f"{job_id}\n" for job_id in ended).encode(),
            }
        )

    @rule(number=st.integers(0, 9))
    def record_backup(self, number: int) -> None:
        """Record a backup."""
        backup = make_backup(make_job(number, "acme", BEGINNING))
        self.commit({make_record_path(backup, site="acme"): dump(backup)})

    @rule(number=st.integers(0, 5))
    def ask(self, number: int) -> None:
        """Commit an intent."""
        path, text = make_intent("DriftCheck", f"check-{number}", "{environment: staging}")
        self.commit({path: text.encode()})

    @rule(number=st.integers(0, 5))
    def withdraw(self, number: int) -> None:
        """Delete an intent."""
        self.commit({f"intents/acme/check-{number}.yaml": None})

    @rule(path=st.sampled_from(["status/acme", "status/other", "status", "sites/other", "intents"]))
    def tidy(self, path: str) -> None:
        """Delete a whole folder by hand."""
        self.commit({path: None})
        if path == "status" or path.startswith("status/"):
            site = path.removeprefix("status").removeprefix("/")
            self.jobs = {key: job for key, job in self.jobs.items() if site and job.site != site}

    @rule(most=st.integers(1, 5))
    def warm_up(self, most: int) -> None:
        """Glance at some."""
        self.index.warm_up(most=most)

    @invariant()
    def it_says_what_a_fresh_one_says(self) -> None:
        """Compare everything that can be asked."""
        if not hasattr(self, "index"):
            return
        self.index.update(self.repo.fetch(), now=NOW)
        fresh = Index(self.repo)
        fresh.update(self.repo.fetch(), now=NOW)
        assert describe(self.index) == describe(fresh)
        recorded = [job for job in self.index.list_jobs(JobFilter()) if job.intent_kind != "DriftCheck"]
        assert {job.id: job.status for job in recorded} == {key: job.status for key, job in self.jobs.items()}
        assert set(self.index.shelf.open_jobs) == {
            key for key, job in self.jobs.items() if job.status is JobStatus.RUNNING
        }


def describe(index: Index) -> object:
    """Say all that an index knows."""
    jobs = list(index.list_jobs(JobFilter()))
    second = (
        list(islice(index.list_jobs(JobFilter(), after=(jobs[1].created_at, jobs[1].id)), 3))
        if jobs[2:]
        else []
    )
    return (
        [(job.id, job.status) for job in jobs],
        [job.id for job in second] == [job.id for job in jobs[2:5]],
        [job.id for job in index.list_jobs(JobFilter(status="running"))],
        sorted(index.pending),
        {kind: sorted(index.shelf.leaves[kind]) for kind in Kind},
        sorted(index.environments),
        sorted(backup.id for backup in index.list_backups("acme")),
    )


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
