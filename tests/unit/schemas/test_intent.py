from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import pytest

from schemas.document import DocumentInvalid, read_intent
from schemas.intent import (
    JOB_TYPES,
    Backup,
    Cancel,
    Promotion,
    Refresh,
    Reset,
    Rollback,
    make_invalid_job_id,
    make_job_id,
)
from schemas.state import BackupScope, IntentKind, RefreshScope
from tests.unit.schemas.documents import PROMOTION, PROMOTION_PATH

SITE_ID = UUID("3f0d6c0a-7f7c-4a2b-9a3f-0a1d2c3b4e5f")
OWN_ID = UUID("7d9f2b1c-0f3a-4c55-9d3e-2b6f3a1c8e10")


def make_document(kind: str, spec: str) -> bytes:
    return f"apiVersion: pressluft/v1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n".encode()


def read(kind: str, spec: str) -> object:
    return read_intent(make_document(kind, spec), path="intents/acme/x.yaml")


def test_the_shortest_promotion_is_read() -> None:
    intent = read_intent(PROMOTION, path=PROMOTION_PATH)
    assert isinstance(intent, Promotion)
    assert intent.kind is IntentKind.PROMOTION
    assert (intent.spec.source, intent.spec.target) == ("staging", "production")
    assert intent.spec.reason == "New checkout theme"
    assert (intent.spec.wait, intent.spec.backup, intent.spec.refresh, intent.spec.pin) == (None,) * 4


def test_a_promotion_with_everything_is_read() -> None:
    intent = read(
        "Promotion",
        f"{{source: a, target: b, pin: {'0' * 64}, not_before: 2026-01-02T03:04:05Z, wait: P7D, backup: create,"
        " refresh: protected, actor: Ann <ann@acme.example>}",
    )
    assert isinstance(intent, Promotion)
    assert intent.spec.pin == "0" * 64
    assert intent.spec.wait == timedelta(days=7)
    assert intent.spec.not_before == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_the_other_kinds_have_their_defaults() -> None:
    backup, refresh = read("Backup", "{environment: production}"), read("Refresh", "{environment: staging}")
    rollback, reset = read("Rollback", "{environment: production}"), read("Reset", "{}")
    cancel = read("Cancel", f"{{job_id: {OWN_ID}}}")
    assert isinstance(backup, Backup)
    assert backup.spec.scope is BackupScope.FULL
    assert isinstance(refresh, Refresh)
    assert (refresh.spec.scope, refresh.spec.anonymise) == (RefreshScope.PROTECTED, False)
    assert isinstance(rollback, Rollback)
    assert rollback.spec.overwrite == ()
    assert isinstance(reset, Reset)
    assert reset.spec.environment is None
    assert isinstance(cancel, Cancel)
    assert cancel.spec.job_id == OWN_ID


@pytest.mark.parametrize(
    ("kind", "spec", "field"),
    [
        ("Promotion", "{source: a, target: a}", "spec.target"),
        ("Promotion", "{source: a, target: b, wait: 8d}", "spec.wait"),
        ("Promotion", "{source: a, target: b, wait: 0s}", "spec.wait"),
        ("Promotion", "{source: a, target: b, force: true}", "spec.force"),
        ("Promotion", "{source: a, target: b, backup: true}", "spec.backup"),
        ("Promotion", "{source: a, target: b, refresh: full}", "spec.refresh"),
        ("Promotion", "{source: a, target: b, pin: abc}", "spec.pin"),
        ("Promotion", "{source: a, target: b, not_before: 2026-01-02}", "spec.not_before"),
        ("Backup", "{environment: a, scope: all}", "spec.scope"),
        ("Refresh", "{environment: a, anonymise: yes}", "spec.anonymise"),
        ("Restore", "{environment: a}", "spec.backup_id"),
        ("Rollback", "{environment: a, overwrite: posts}", "spec.overwrite"),
        ("Reset", "{wait: 1h}", "spec.wait"),
        ("Cancel", "{job_id: 5}", "spec.job_id"),
        ("Cancel", "", "spec"),
    ],
)
def test_a_wrong_intent_is_refused_at_the_field(kind: str, spec: str, field: str) -> None:
    with pytest.raises(DocumentInvalid) as caught:
        read(kind, spec)
    assert caught.value.field == field


def test_an_intent_s_own_id_is_its_job_s() -> None:
    data = PROMOTION.replace(b"{name: spring-release}", f"{{name: spring-release, id: {OWN_ID}}}".encode())
    assert make_job_id(SITE_ID, read_intent(data, path=PROMOTION_PATH)) == OWN_ID


def test_without_an_id_site_and_name_make_the_job_s() -> None:
    intent = read_intent(PROMOTION, path=PROMOTION_PATH)
    assert make_job_id(SITE_ID, intent) == uuid5(SITE_ID, "spring-release")
    assert make_job_id(OWN_ID, intent) != make_job_id(SITE_ID, intent)


def test_a_corrected_file_is_another_job() -> None:
    first = make_invalid_job_id("intents/acme/x.yaml", "a" * 40)
    assert first == make_invalid_job_id("intents/acme/x.yaml", "a" * 40)
    assert first != make_invalid_job_id("intents/acme/x.yaml", "b" * 40)
    assert first != make_invalid_job_id("intents/acme/y.yaml", "a" * 40)


def test_every_kind_but_cancel_becomes_a_job() -> None:
    assert set(JOB_TYPES) == set(IntentKind)
    assert [kind for kind, job_type in JOB_TYPES.items() if job_type is None] == [IntentKind.CANCEL]
