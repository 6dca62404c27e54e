"""Whose turn it is when sites share a node."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid5

import pytest

from reconciler.ports import RunOutcome, RunSpec
from schemas.state import JobStatus
from tests.story import NODE_ID, SPACE, Story, make_environment, make_fleet_files, make_site_files


def add_site(story: Story, site: str, *, node: str = "web-1") -> None:
    """Add a site with a production."""
    production = make_environment("production", uuid5(SPACE, f"{site}-production"))
    production = production.replace("acme", site).replace("web-1", node)
    story.commit(
        {
            **make_site_files(site, uuid5(SPACE, site)),
            f"sites/{site}/environments/production.yaml": production,
        }
    )


def ask_backups(story: Story, site: str, count: int) -> None:
    """Ask for backups of a site's production in one commit."""
    text = "apiVersion: pressluft/v1\nkind: Backup\nmetadata: {name: NAME}\nspec: {environment: production}\n"
    names = [f"{site}-{number}" for number in range(count)]
    story.commit({f"intents/{site}/{name}.yaml": text.replace("NAME", name) for name in names})


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_site_with_many_jobs_takes_turns_with_the_others(story: Story) -> None:
    add_site(story, "beta")
    order: list[UUID] = []

    def answer(spec: RunSpec) -> RunOutcome:
        order.append(spec.job_id)
        story.clock.advance(seconds=1)
        return story.node.answer(spec)

    story.run()
    story.runner.answer("backup", answer)
    ask_backups(story, "acme", 6)
    story.clock.advance(minutes=1)
    ask_backups(story, "beta", 2)
    story.run()
    names = {job.id: str(job.intent_name) for job in story.list_recorded()}
    turns = [names[job_id].rpartition("-")[0] for job_id in order]
    assert turns[:4] == ["acme", "beta", "acme", "beta"]
    assert sorted(turns) == ["acme"] * 6 + ["beta"] * 2


def test_a_site_that_comes_later_does_not_wait_for_all_that_were_asked_before(story: Story) -> None:
    add_site(story, "beta")
    started: list[str] = []

    def answer(spec: RunSpec) -> RunOutcome:
        started.append(str(spec.job_id))
        story.clock.advance(minutes=1)
        if len(started) == 2:
            ask_backups(story, "beta", 1)
        return story.node.answer(spec)

    story.runner.answer("backup", answer)
    ask_backups(story, "acme", 6)
    story.run()
    beta = story.job("beta-0")
    assert started.index(str(beta.id)) <= 3


def test_within_a_site_the_oldest_comes_first(story: Story) -> None:
    started: list[UUID] = []

    def answer(spec: RunSpec) -> RunOutcome:
        started.append(spec.job_id)
        return story.node.answer(spec)

    story.runner.answer("backup", answer)
    ask_backups(story, "acme", 4)
    story.run()
    names = {job.id: job.intent_name for job in story.list_recorded()}
    assert [names[job_id] for job_id in started] == [f"acme-{number}" for number in range(4)]


def test_two_sites_on_one_node_run_one_after_the_other(story: Story) -> None:
    add_site(story, "beta")
    story.runner.answer("backup", lambda _: None)
    ask_backups(story, "acme", 1)
    ask_backups(story, "beta", 1)
    story.run()
    statuses = sorted(job.status for job in story.list_recorded())
    assert statuses == [JobStatus.QUEUED, JobStatus.RUNNING]


def add_node(story: Story, name: str) -> None:
    """Add another node."""
    text = make_fleet_files()["nodes/web-1.yaml"].replace("web-1", name).replace("localhost", "10.0.0.2")
    story.commit({f"nodes/{name}.yaml": text.replace(str(NODE_ID), str(uuid5(SPACE, name)))})


@pytest.mark.parametrize(("max_jobs", "running"), [(1, 1), (2, 2)])
def test_sites_on_two_nodes_run_at_once_as_far_as_the_daemon_may(
    story: Story, max_jobs: int, running: int
) -> None:
    add_node(story, "web-2")
    add_site(story, "beta", node="web-2")
    story.runner.answer("backup", lambda _: None)
    ask_backups(story, "acme", 1)
    ask_backups(story, "beta", 1)
    story.reconciler = replace(story.reconciler, max_jobs=max_jobs)
    story.run()
    assert [job.status for job in story.list_recorded()].count(JobStatus.RUNNING) == running


def test_a_job_admitted_while_its_files_were_broken_still_holds_its_node(story: Story) -> None:
    add_site(story, "beta")
    story.run()
    whole = make_site_files("beta", uuid5(SPACE, "beta"))
    story.commit(dict.fromkeys(whole, "nonsense\n"))
    ask_backups(story, "beta", 1)
    story.run()
    story.runner.answer("backup", lambda _: None)
    ask_backups(story, "acme", 1)
    story.run()
    story.commit(whole)
    story.run()
    assert story.job("beta-0").status is JobStatus.QUEUED


def test_a_waiting_job_holds_no_slot(story: Story) -> None:
    story.intend("Promotion", "release", "{source: staging, target: production, wait: PT2H}")
    story.run()
    ask_backups(story, "acme", 1)
    story.run()
    assert story.job("acme-0").status is JobStatus.SUCCEEDED
