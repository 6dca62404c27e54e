"""A fleet in the model: sites whose nodes remember, controllers that share one repo, and people who commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from uuid import UUID, uuid5

from reconciler.core.environment import BUSY
from reconciler.observe import Observer
from reconciler.ports import Json, RunOutcome, RunSpec, RunState
from schemas.state import ErrorCode, JobStatus
from tests.fake_node import FakeNode
from tests.faults.machine import Delivery, Machine, SkewedClock
from tests.faults.remote import ModelRemote, Remote
from tests.faults.told import Ledger, Told
from tests.story import CHANGED, NODE_ID, SPACE, FakeClock, make_environment, make_intent, make_resource

OPEN, STOPPED = "{}", "{promotions: {enabled: false}}"
ENDED = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})


def make_policy(spec: str) -> str:
    """Write the fleet's policy."""
    return f"apiVersion: pressluft/v1\nkind: Fleet\nmetadata: {{name: pressluft}}\nspec: {spec}\n"


def make_site(site: str) -> dict[str, str]:
    """Write a site on a node of its own."""
    folder = f"sites/{site}/environments"
    ids = {name: uuid5(SPACE, f"{site}/{name}") for name in ("production", "staging")}
    production = make_environment("production", ids["production"])
    staging = make_environment("staging", ids["staging"], source="production")
    files = {f"{folder}/production.yaml": production, f"{folder}/staging.yaml": staging}
    place = {
        "web-1": f"web-{site}",
        "/srv/acme": f"/srv/{site}",
        "acme_": f"{site}_",
        "acme.test": f"{site}.test",
    }
    for old, new in place.items():
        files = {path: text.replace(old, new) for path, text in files.items()}
    return {
        f"sites/{site}/site.yaml": "apiVersion: pressluft/v1\nkind: Site\n"
        f"metadata: {{name: {site}, id: {uuid5(SPACE, site)}}}\nspec: {{}}\n",
        f"nodes/web-{site}.yaml": "apiVersion: pressluft/v1\nkind: Node\n"
        f"metadata: {{name: web-{site}, id: {uuid5(NODE_ID, site)}}}\nspec: {{host: localhost}}\n",
        **files,
    }


@dataclass
class Fleet:
    """Everything of one schedule. Times pass only when told to; all chance comes from `chance`."""

    sites: tuple[str, ...]
    workers: tuple[str, ...]
    chance: Random
    remote: Remote = field(default_factory=ModelRemote)
    clock: FakeClock = field(default_factory=FakeClock)
    max_jobs: int = 4
    policy: str = OPEN
    """The fleet's own, whenever promotions are not switched off."""
    inbox: list[Delivery] = field(default_factory=list)
    broken_promises: list[str] = field(default_factory=list)
    ended: dict[UUID, JobStatus] = field(default_factory=dict)
    was_clean: dict[tuple[UUID, int], bool] = field(default_factory=dict)
    had_backup: dict[tuple[UUID, int], bool] = field(default_factory=dict)
    intended: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.remote.people, self.sites)
        self.nodes = {site: FakeNode(self.clock) for site in self.sites}
        self.site_of = {
            str(uuid5(SPACE, f"{site}/{name}")): site
            for site in self.sites
            for name in ("production", "staging")
        }
        files = {path: text for site in self.sites for path, text in make_site(site).items()}
        self.commit({"pressluft.yaml": make_policy(self.policy), **files})
        self.machines = [self.make_machine(name) for name in self.workers]

    def make_machine(self, name: str) -> Machine:
        """Make a controller whose clock is off by some seconds."""
        offset = timedelta(seconds=self.chance.uniform(-10, 10))
        clock = SkewedClock(self.clock, offset)
        return Machine(
            name,
            lambda: self.remote.open_daemon(name),
            clock,
            self.inbox,
            self.chance.random,
            max_jobs=self.max_jobs,
        )

    def commit(self, files: Mapping[str, str | None]) -> None:
        """Commit as a person."""
        changes = {path: text.encode() if text is not None else None for path, text in files.items()}
        self.remote.commit(changes)

    def intend(self, site: str, kind: str, name: str, spec: str) -> None:
        """Commit an intent."""
        path, text = make_intent(kind, name, spec)
        path = path.replace("/acme/", f"/{site}/")
        self.intended[path] = kind
        self.commit({path: text})

    def deliver(self, number: int = 0, *, fault: str = "") -> None:
        """Let the node do a step that is on its way; `fault` loses it `before` or `after`, or is how it failed."""
        if not self.inbox:
            return
        item = self.inbox.pop(number % len(self.inbox))
        outcome = self.perform(item, fault=fault)
        if item.runner is not None:
            item.runner.end(item.spec.key, outcome)

    def deliver_all(self) -> None:
        """Let the nodes do all there is to do."""
        while self.inbox:
            self.deliver()

    def perform(self, item: Delivery, *, fault: str) -> RunOutcome:
        """Let a node answer, and hold what it did against the promises."""
        spec, node = item.spec, self.nodes[self.find_site(item.spec)]
        known = node.diaries.get(spec.job_id)
        cuts = spec.step == "cut_over" and not (known and known.finished) and fault != "before"
        before = len(node.cuts)
        node.fault = lambda _: fault
        outcome = node.answer(spec)
        if cuts and len(node.cuts) > before:
            self.judge_cut(item)
        if spec.step.startswith("check") and outcome.state is RunState.SUCCEEDED:
            key = (spec.job_id, spec.epoch)
            self.was_clean[key] = all(is_clean(resource) for resource in node.resources)
            self.had_backup[key] = node.backup_valid
        if spec.step.startswith("refresh") and outcome.state is RunState.SUCCEEDED:
            node.resources = [make_resource("posts")]
        return outcome

    def find_site(self, spec: RunSpec) -> str:
        """Find the site that a step is about."""
        environment = spec.variables["pressluft_environment"]
        assert isinstance(environment, dict)
        return self.site_of[str(environment["id"])]

    def judge_cut(self, item: Delivery) -> None:
        """A cut-over stands on a clean check and a backup of its own epoch, ordered under an open policy."""
        key = (item.spec.job_id, item.spec.epoch)
        policy = self.remote.read_file(item.seen.intents or "", "pressluft.yaml")
        holds = {
            "no clean check": self.was_clean.get(key, False),
            "no valid backup": self.had_backup.get(key, False),
            "promotions were switched off": policy == make_policy(self.policy).encode(),
        }
        self.broken_promises += [f"{key} cut over: {what}" for what, is_so in holds.items() if not is_so]

    def list_jobs(self) -> list[Told]:
        """Read every job on record."""
        return self.ledger.read(self.remote.find_word())

    def find_forged(self) -> list[str]:
        """Find what somebody else wrote to `status/` and nobody has put right."""
        tip, word = self.remote.people.fetch().status, self.remote.find_word()
        present, true = (
            self.remote.people.read_folder(commit, "status") if commit else None for commit in (tip, word)
        )
        return [] if present == true else ["what was forged under status/ is still there"]

    def look_at_promises(self) -> None:
        """Hold what is on record against what was on record before."""
        jobs = self.list_jobs()
        for job in jobs:
            known = self.ended.get(job.id)
            if known is not None and job.status is not known:
                self.broken_promises.append(f"{job.id} ended {known} and is {job.status} now")
            if job.status in ENDED:
                self.ended[job.id] = job.status
        gone = self.ended.keys() - {job.id for job in jobs}
        self.broken_promises += [f"the status of {job_id} was lost" for job_id in gone]
        running = Counter(job.site for job in jobs if job.status is JobStatus.RUNNING)
        self.broken_promises += [
            f"{count} jobs run on {site}" for site, count in running.items() if count > 1
        ]
        for node in self.nodes.values():
            cuts = Counter(job_id for job_id, _ in node.cuts)
            self.broken_promises += [f"{job_id} cut over {n} times" for job_id, n in cuts.items() if n > 1]

    def settle(self) -> None:
        """Make all well again, and give everybody time; then every job has ended, as it ended on its node."""
        for machine in self.machines:
            machine.script.armed.clear()
            machine.script.meanwhile = lambda _: None
        for node in self.nodes.values():
            node.backup_valid, node.unhealthy = True, False
        self.commit({"pressluft.yaml": make_policy(self.policy)} | make_all_sites(self.sites))
        for _ in range(160):
            self.clock.advance(minutes=30)
            for machine in self.machines:
                machine.look()
                self.deliver_all()
            if not any(job.status not in ENDED for job in self.list_jobs()) and not self.find_unseen():
                break
        self.look_at_promises()
        self.judge_ends()

    def find_unseen(self) -> list[str]:
        """Find intents that lie in the repo and have no job on record; Cancel is none."""
        files = self.remote.list_paths(self.remote.people.fetch().intents or "")
        paths = [path for path in files if path.startswith("intents/") and self.intended[path] != "Cancel"]
        told = {job.intent_path for job in self.list_jobs()}
        return [path for path in paths if path not in told]

    def judge_ends(self) -> None:
        """Hold the ends of all jobs against what their nodes know."""
        jobs = self.list_jobs()
        open_jobs = [f"{job.id} is {job.status} for ever" for job in jobs if job.status not in ENDED]
        lost = [f"{path} was lost" for path in self.find_unseen()]
        healthy = {
            job_id
            for node in self.nodes.values()
            for job_id, diary in node.diaries.items()
            if diary.cut == "healthy"
        }
        told = {
            job.id for job in jobs if job.status is JobStatus.SUCCEEDED and job.intent_kind == "Promotion"
        }
        lies = [f"{job_id} is told another way than it was" for job_id in told ^ healthy]
        bugs = [f"{job.id}: {job.error_message}" for job in jobs if is_bug(job)]
        raised = [repr(error) for machine in self.machines for error in machine.bugs]
        seen = Observer(self.remote.people).read_status(self.remote.find_word())
        busy = [f"{env.name} is busy for ever" for env in seen.environments.values() if env.status in BUSY]
        self.broken_promises += [*open_jobs, *lost, *lies, *bugs, *raised, *busy, *self.find_forged()]


def make_all_sites(sites: tuple[str, ...]) -> dict[str, str]:
    """Write all sites as they should be."""
    return {path: text for site in sites for path, text in make_site(site).items()}


def is_bug(job: Told) -> bool:
    """Whether a job ended by a mistake of the daemon's own, not by a fault."""
    return job.error_code is ErrorCode.ANSIBLE_UNEXPECTED_ERROR and "injected" not in (
        job.error_message or ""
    )


def is_clean(resource: Json) -> bool:
    """Whether a resource is as the baseline has it."""
    return isinstance(resource, dict) and resource["production"] == resource["production_baseline"]


def make_drift(*, clean: bool) -> list[Json]:
    """Make what a node sees."""
    return [make_resource("posts") if clean else make_resource("posts", production=CHANGED)]
