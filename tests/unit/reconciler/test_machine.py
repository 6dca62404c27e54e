"""A fleet on a random day: commits, drift, failures, lost runs, clock jumps and restarts, and what stays true."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reconciler.core.environment import BUSY
from reconciler.ports import Json, RunOutcome, RunSpec, RunState
from reconciler.reconcile import run_pass
from schemas.state import ErrorCode, JobStatus
from tests.fake_node import FakeNode, LingeringStory, make_story
from tests.story import (
    CHANGED,
    PRODUCTION_ID,
    Story,
    make_environment,
    make_fleet_files,
    make_intent,
    make_resource,
)

OPEN, STOPPED = "{}", "{promotions: {enabled: false}}"
SPECS = (
    "{source: staging, target: production}",
    "{source: staging, target: production, wait: PT2H}",
    "{source: staging, target: production, backup: create}",
    "{source: staging, target: production, backup: create, wait: PT2H, refresh: protected}",
)
FAULTS = ("", "", "", "before", "after", "ANSIBLE_HOST_UNREACHABLE", "BACKUP_INVALID")


class Day(RuleBasedStateMachine):
    """What people, nodes and clocks do; after each step the promises are looked at."""

    story: Story
    node: FakeNode

    @initialize(kind=st.sampled_from([Story, LingeringStory]))
    def begin(self, kind: type[Story]) -> None:
        """Start with an empty fleet, where runs are seen under way or not."""
        self.story, self.node = make_story(kind=kind)
        self.faults: list[str] = []
        self.policy_open = True
        self.was_clean: dict[tuple[UUID, int], bool] = {}
        self.had_backup: dict[tuple[UUID, int], bool] = {}
        self.broken_promises: list[str] = []
        self.number = 0
        for step in (
            "probe",
            "backup",
            "refresh",
            "check",
            "stage",
            "cut_over",
            "rollback",
            "verify",
            "discard",
        ):
            self.watch(step)
            for round_number in range(1, 4):
                self.watch(f"{step}-{round_number}")

    def watch(self, step: str) -> None:
        """Let the node answer a step under the eyes of the promises."""
        self.story.runner.answer(step, self.answer)

    def answer(self, spec: RunSpec) -> RunOutcome:
        """Note what a check saw, and what a cut-over stands on when it starts."""
        key = (spec.job_id, spec.epoch)
        if spec.step == "cut_over" and not self.node.diaries[spec.job_id].finished:
            self.judge_start(key)
        fault = self.faults.pop() if self.faults else ""
        self.node.fault = lambda _: fault
        outcome = self.node.answer(spec)
        if spec.step.startswith("check") and outcome.state is RunState.SUCCEEDED:
            self.was_clean[key] = all(is_clean(item) for item in self.node.resources)
            self.had_backup[key] = self.node.backup_valid
        if spec.step.startswith("refresh") and outcome.state is RunState.SUCCEEDED:
            self.node.resources = [make_resource("posts")]
        return outcome

    def judge_start(self, key: tuple[UUID, int]) -> None:
        """A cut-over stands on a clean check and a valid backup of its own epoch, under an open policy."""
        reasons = {
            "no clean check": self.was_clean.get(key, False),
            "no valid backup": self.had_backup.get(key, False),
            "the policy was shut": self.policy_open,
        }
        self.broken_promises += [f"{key}: {reason}" for reason, holds in reasons.items() if not holds]

    @rule(kind=st.sampled_from(["Backup", "DriftCheck", "Refresh"]))
    def ask(self, kind: str) -> None:
        """Ask for something small."""
        self.number += 1
        environment = "production" if kind == "Backup" else "staging"
        self.story.intend(kind, f"job-{self.number}", f"{{environment: {environment}}}")

    @rule(spec=st.sampled_from(SPECS))
    def ask_promotion(self, spec: str) -> None:
        """Ask for a promotion."""
        self.number += 1
        self.story.intend("Promotion", f"job-{self.number}", spec)

    @rule(number=st.integers(1, 12))
    def delete(self, number: int) -> None:
        """Delete an intent that may be queued, running, ended or unknown."""
        self.story.commit({f"intents/acme/job-{number}.yaml": None})

    @rule(number=st.integers(1, 12))
    def put_back(self, number: int) -> None:
        """Write an intent's file once more, perhaps another one under the same name."""
        path, text = make_intent("Promotion", f"job-{number}", SPECS[number % len(SPECS)])
        self.story.commit({path: text})

    @rule(is_open=st.booleans())
    def change_policy(self, is_open: bool) -> None:
        """Stop promotions, or let them go on."""
        self.policy_open = is_open
        self.story.commit(
            {"pressluft.yaml": make_fleet_files(OPEN if is_open else STOPPED)["pressluft.yaml"]}
        )

    @rule(is_whole=st.booleans())
    def change_files(self, is_whole: bool) -> None:
        """Break the source's file, or mend it."""
        path = "sites/acme/environments/staging.yaml"
        self.story.commit({path: make_fleet_files()[path] if is_whole else "nonsense\n"})

    @rule(tables=st.sampled_from([(), ("bookings",), ("bookings", "rooms")]))
    def protect_more(self, tables: tuple[str, ...]) -> None:
        """Protect other tables."""
        extra = f"  protect: {{tables: [{', '.join(tables)}]}}\n" if tables else ""
        production = make_environment("production", PRODUCTION_ID, extra=extra)
        self.story.commit({"sites/acme/environments/production.yaml": production})

    @rule(is_clean=st.booleans())
    def let_visitors_come(self, is_clean: bool) -> None:
        """Let production drift, or be as it was."""
        self.node.resources = [
            make_resource("posts") if is_clean else make_resource("posts", production=CHANGED)
        ]

    @rule(valid=st.booleans())
    def let_storage_fail(self, valid: bool) -> None:
        """Lose the backups, or find them again."""
        self.node.backup_valid = valid

    @rule(healthy=st.booleans())
    def let_themes_break(self, healthy: bool) -> None:
        """Let what is promoted be broken, or not."""
        self.node.unhealthy = not healthy

    @rule(faults=st.lists(st.sampled_from(FAULTS), max_size=4))
    def let_runs_fail(self, faults: list[str]) -> None:
        """Let the next runs be lost or fail."""
        self.faults = faults

    @rule(minutes=st.sampled_from([-120, -1, 1, 6, 30, 130]))
    def move_clock(self, minutes: int) -> None:
        """Let time go by, or back."""
        self.story.clock.advance(minutes=minutes)

    @rule(fresh=st.booleans())
    def restart(self, fresh: bool) -> None:
        """Start the daemon again, with its folder of runs or without."""
        self.story.restart(fresh_runner=fresh)
        if fresh:
            for step in list(self.story.runner._answers):
                self.watch(step)

    @rule()
    def look(self) -> None:
        """Let the daemon look."""
        run_pass(self.story.reconciler)
        self.story.clock.advance(seconds=2)

    @precondition(lambda self: self.number < 9)
    @rule()
    def promote_safely(self) -> None:
        """Let a promotion through, so that not every day ends at a gate."""
        self.let_visitors_come(is_clean=True)
        self.let_storage_fail(valid=True)
        self.change_policy(is_open=True)
        self.change_files(is_whole=True)
        self.ask_promotion(SPECS[2])
        self.look()

    @invariant()
    def no_gate_was_passed(self) -> None:
        """No cut-over started without its gates."""
        assert getattr(self, "broken_promises", []) == []

    @invariant()
    def nothing_is_done_twice(self) -> None:
        """No job exchanged production more than once."""
        if hasattr(self, "node"):
            assert all(count == 1 for count in Counter(job_id for job_id, _ in self.node.cuts).values())

    @invariant()
    def what_is_busy_is_worked_on(self) -> None:
        """An environment is busy only while a job runs."""
        if hasattr(self, "story"):
            seen = self.story.see()
            running = {job.environment_id for job in seen.jobs.values() if job.status is JobStatus.RUNNING}
            busy = {env.id for env in seen.environments.values() if env.status in BUSY}
            assert busy <= running

    def teardown(self) -> None:
        """When all is well again, every job ends, as it ended on the node."""
        if not hasattr(self, "story"):
            return
        self.faults = []
        self.change_policy(is_open=True)
        self.change_files(is_whole=True)
        for _ in range(60):
            self.story.clock.advance(minutes=30)
            run_pass(self.story.reconciler)
        jobs = self.story.list_recorded()
        assert [job for job in jobs if job.status in {JobStatus.QUEUED, JobStatus.RUNNING}] == []
        healthy = {job_id for job_id, diary in self.node.diaries.items() if diary.cut == "healthy"}
        told = {
            job.id for job in jobs if job.status is JobStatus.SUCCEEDED and job.intent_kind == "Promotion"
        }
        assert told == healthy
        assert [job for job in jobs if job.error_code is ErrorCode.ANSIBLE_UNEXPECTED_ERROR] == []
        assert not self.broken_promises


def is_clean(resource: Json) -> bool:
    """Whether a resource is as the baseline has it."""
    return isinstance(resource, dict) and resource["production"] == resource["production_baseline"]


TestDay = Day.TestCase
TestDay.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=timedelta(seconds=20),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
