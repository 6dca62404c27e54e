"""A job's diary: what was recorded is there for whoever comes after a crash."""

import json
from pathlib import Path

from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Job
from ansible_collections.pressluft.wordpress.plugins.module_utils.journal import Journal, read_journal

JOB = Job("11111111-1111-4111-8111-111111111111", 4, "env_promote", "stage")


def test_looking_at_a_journal_creates_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    assert Journal(str(folder), JOB).steps == []
    assert read_journal(str(folder)) is None
    assert not folder.exists()


def test_what_was_recorded_is_read_by_another(tmp_path: Path) -> None:
    Journal(str(tmp_path / "job"), JOB).record("staged", {"rows": 3})
    journal = Journal(str(tmp_path / "job"), JOB)
    assert (journal.steps, journal.read_detail("staged")) == (["staged"], {"rows": 3})
    content = json.loads((tmp_path / "job" / "journal.json").read_text())
    assert (content["job_id"], content["epoch"], content["type"]) == (JOB.id, 4, "env_promote")


def test_a_step_that_is_repeated_takes_the_place_of_its_earlier_self(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path), JOB)
    journal.record("backup", {"try": 1})
    journal.record("staged")
    journal.record("backup", {"try": 2})
    assert (journal.steps, journal.read_detail("backup")) == (["staged", "backup"], {"try": 2})


def test_a_cut_keeps_what_it_noted_before(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path), JOB)
    journal.record_cut(state="started", at="now")
    journal.record_cut(state="switched")
    assert journal.cut == {"state": "switched", "at": "now"}


def test_a_job_that_begins_again_forgets_its_staging_and_nothing_else(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path), JOB)
    journal.record("backup")
    journal.record("staged")
    journal.record_cut(state="started")
    journal.record_end({}, {"code": "ANSIBLE_HOST_FAILED"})
    journal.restart()
    assert (journal.steps, journal.cut, journal.result, journal.error) == (["backup"], {}, None, None)
