"""Jobs whose environments are on two nodes: which node runs what, who is told of the other, and what is held."""

from __future__ import annotations

from uuid import uuid5

import pytest

from reconciler.ports import RunOutcome, RunSpec
from reconciler.worker import GlanceMemory
from schemas.state import JobStatus
from tests.story import (
    CHANGED,
    NODE_ID,
    SPACE,
    STAGING_ID,
    Story,
    make_environment,
    make_fleet_files,
    make_intent,
    make_resource,
    make_site_files,
)


@pytest.fixture
def story() -> Story:
    """Production on web-1, staging on web-2."""
    story = Story()
    part(story)
    return story


def part(story: Story) -> None:
    """Move staging to a node of its own."""
    staging = make_environment("staging", STAGING_ID, source="production").replace("web-1", "web-2")
    node = make_fleet_files()["nodes/web-1.yaml"].replace("web-1", "web-2").replace("localhost", "10.0.0.2")
    story.commit(
        {
            "nodes/web-2.yaml": node.replace(str(NODE_ID), str(uuid5(SPACE, "web-2"))),
            "sites/acme/environments/staging.yaml": staging,
        }
    )


def record_runs(story: Story) -> list[tuple[str, str, object]]:
    """What was run: playbook, node, and the name of the other node that the playbook was told of."""
    runs: list[tuple[str, str, object]] = []

    def answer(spec: RunSpec) -> RunOutcome:
        peer = spec.variables.get("pressluft_peer")
        runs.append((spec.playbook, spec.node.name, peer["name"] if isinstance(peer, dict) else None))
        return story.node.answer(spec)

    for step in ("check", "check-1", "refresh", "refresh-1", "stage", "cut_over", "backup", "backup-1"):
        story.runner.answer(step, answer)
    return runs


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        pytest.param(
            "DriftCheck", "{environment: staging}", ("drift-check", "web-2", "web-1"), id="drift check"
        ),
        pytest.param("Refresh", "{environment: staging}", ("env-refresh", "web-2", "web-1"), id="refresh"),
        pytest.param(
            "Promotion",
            "{source: staging, target: production, backup: create}",
            ("env-promote", "web-1", "web-2"),
            id="promotion",
        ),
        pytest.param(
            "Promotion",
            "{source: staging, target: production, backup: create, refresh: protected}",
            ("env-refresh", "web-2", "web-1"),
            id="refresh within a promotion",
        ),
        pytest.param(
            "Promotion",
            "{source: staging, target: production, backup: create, refresh: protected}",
            ("backup-create", "web-2", "web-1"),
            id="backup of the source within a promotion",
        ),
    ],
)
def test_a_step_runs_where_its_environment_is_and_is_told_of_the_other_node(
    story: Story, kind: str, spec: str, expected: tuple[str, str, str]
) -> None:
    runs = record_runs(story)
    story.commit(dict([make_intent(kind, "across", spec)]))
    story.run()
    assert expected in runs


def test_a_job_on_one_node_is_told_of_no_other(story: Story) -> None:
    runs = record_runs(story)
    story.commit(dict([make_intent("Backup", "one", "{environment: staging}")]))
    story.run()
    assert runs == [("backup-create", "web-2", None)]


@pytest.mark.parametrize("node", ["web-1", "web-2"])
def test_a_periodic_look_at_a_copy_on_another_node_gives_way_to_a_job_on_either(node: str) -> None:
    story = Story("{drift_check_interval: PT1H}")
    part(story)
    object.__setattr__(story.reconciler, "glances", GlanceMemory())
    story.intend("DriftCheck", "first", "{environment: staging}")
    story.run()
    story.runner.answer("check", lambda _: None)
    story.clock.advance(hours=1)
    story.run()
    [look] = [spec for spec in story.runner.started if spec.epoch == 0]
    peer = look.variables["pressluft_peer"]
    assert (look.node.name, peer["name"] if isinstance(peer, dict) else None) == ("web-2", "web-1")
    production = make_environment("production", uuid5(SPACE, "beta-production")).replace("acme", "beta")
    path, text = make_intent("Backup", "one", "{environment: production}")
    story.commit(
        {
            **make_site_files("beta", uuid5(SPACE, "beta")),
            "sites/beta/environments/production.yaml": production.replace("web-1", node),
            path.replace("acme", "beta"): text,
        }
    )
    story.run()
    story.run()
    assert story.runner.cancelled == [look.key]
    assert story.job("one").status is JobStatus.SUCCEEDED


def test_a_promotion_that_waits_for_drift_on_another_node_to_go_is_checked_again_by_itself(
    story: Story,
) -> None:
    story.node.resources.append(make_resource("comments", production=CHANGED))
    story.promote(spec="{source: staging, target: production, backup: create, wait: PT2H}")
    assert story.job("release").status is JobStatus.QUEUED
    story.node.resources.pop()
    story.clock.advance(minutes=10)
    story.run()
    assert story.job("release").status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("node", ["web-1", "web-2"])
def test_a_job_on_two_nodes_holds_both(story: Story, node: str) -> None:
    production = make_environment("production", uuid5(SPACE, "beta-production")).replace("acme", "beta")
    story.commit(
        {
            **make_site_files("beta", uuid5(SPACE, "beta")),
            "sites/beta/environments/production.yaml": production.replace("web-1", node),
        }
    )
    story.runner.answer("check", lambda _: None)
    story.runner.answer("backup", lambda _: None)
    story.commit(dict([make_intent("DriftCheck", "across", "{environment: staging}")]))
    story.run()
    path, text = make_intent("Backup", "one", "{environment: production}")
    story.commit({path.replace("acme", "beta"): text})
    story.run()
    statuses = {job.site: job.status for job in story.list_recorded()}
    assert statuses == {"acme": JobStatus.RUNNING, "beta": JobStatus.QUEUED}


def test_a_job_on_two_nodes_waits_for_both(story: Story) -> None:
    production = make_environment("production", uuid5(SPACE, "beta-production")).replace("acme", "beta")
    story.commit(
        {
            **make_site_files("beta", uuid5(SPACE, "beta")),
            "sites/beta/environments/production.yaml": production,
        }
    )
    story.runner.answer("backup", lambda _: None)
    path, text = make_intent("Backup", "one", "{environment: production}")
    story.commit({path.replace("acme", "beta"): text})
    story.run()
    story.commit(dict([make_intent("DriftCheck", "across", "{environment: staging}")]))
    story.run()
    statuses = {job.site: job.status for job in story.list_recorded()}
    assert statuses == {"acme": JobStatus.QUEUED, "beta": JobStatus.RUNNING}


def test_a_node_whose_file_is_missing_is_named(story: Story) -> None:
    staging = make_environment("staging", STAGING_ID, source="production").replace("web-1", "web-3")
    story.commit({"sites/acme/environments/staging.yaml": staging})
    story.commit(dict([make_intent("DriftCheck", "across", "{environment: staging}")]))
    story.run()
    assert "there is no nodes/web-3.yaml" in str(story.job("across").error_message)
