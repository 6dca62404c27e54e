"""What `pressluft drift` prints: everything of spec.md §3, the gate first, nothing of what is absent."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from reconciler.cli.common import out
from reconciler.cli.drift import show
from reconciler.core.record import make_verdicts
from schemas.observation import Observation
from schemas.state import DriftStatus, EnvironmentStatus, Preset, ResourceClass, ResourceKind, Verdict
from schemas.status import (
    DriftCheckRecord,
    EnvironmentRecord,
    MergePlan,
    ResourceChange,
    SchemaDifference,
    SourceOnlyData,
)

SOME_ID = UUID(int=7)
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
THEN, SINCE = "sha256:" + "a1" * 32, "sha256:" + "b2" * 32
FIRST, SECOND = "1" * 64, "2" * 64


def see(kind: str, name: str, protection: str, **fields: object) -> dict[str, object]:
    both = {"production": THEN, "production_baseline": THEN, "source": THEN, "source_baseline": THEN}
    return {"kind": kind, "name": name, "protection": protection, **both, **fields}


OBSERVATION = Observation.model_validate(
    {
        "id": "o",
        "taken_at": "2026-03-02T12:00:00Z",
        "baseline": {"id": FIRST, "taken_at": "2026-03-01T12:00:00Z"},
        "source_fingerprint": "c" * 64,
        "resources": [
            see("table", "posts", "protected", production=SINCE, samples=[str(key) for key in range(9)]),
            see("table", "comments", "protected", proof="tablespace"),
            see("table", "wc_orders", "protected", production=None, production_baseline=None),
            see("path", "wp-content/uploads", "protected", proof="manifest"),
            see("table", "users", "preserved", production=SINCE),
            see("option", "mailserver_pass", "preserved", production=SINCE, samples=["mailserver_pass"]),
            see("path", "wp-config.php", "preserved", production=SINCE, proof="manifest"),
            see("option", "blogname", "mergeable", production=SINCE),
        ],
    }
)
CHECK = DriftCheckRecord(
    id=SOME_ID,
    status=DriftStatus.DRIFTED,
    site="acme",
    job_id=SOME_ID,
    source_environment_id=SOME_ID,
    target_environment_id=SOME_ID,
    promotion_preset=Preset.CONTENT_PROTECT,
    baseline_id=FIRST,
    protection_digest="d" * 64,
    source_fingerprint="c" * 64,
    checked_at=NOW,
    resources=tuple(make_verdicts(OBSERVATION)),
    merge=MergePlan(
        promoted=(ResourceChange(kind=ResourceKind.COMPONENT, name="themes/leaf"),),
        kept=(ResourceChange(kind=ResourceKind.OPTION, name="blogname"),),
        conflicts=(ResourceChange(kind=ResourceKind.OPTION, name="tagline"),),
        unchanged=12,
        source_only_protected=(
            SourceOnlyData(kind=ResourceKind.TABLE, name="posts", count=30, samples=("101", "102")),
        ),
    ),
)


def read(check: DriftCheckRecord = CHECK, record: EnvironmentRecord | None = None) -> str:
    with out.capture() as captured:
        show(check, "acme/staging", record)
    return captured.get()


def find_line(text: str, *words: str) -> str:
    [line] = [line for line in text.splitlines() if all(word in line for word in words)]
    return line


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("posts", "drifted", "all rows read", "a1a1a1a1a1a1", "b2b2b2b2b2b2"), id="verdict"),
        pytest.param(("posts", "0, 1, 2, 3, 4 and 4 more"), id="samples"),
        pytest.param(("comments", "clean", "file unchanged"), id="clean, with its proof"),
        pytest.param(("uploads", "clean", "all entries compared"), id="uploads"),
        pytest.param(("users", "drifted"), id="a preserved table"),
        pytest.param(("wp-config.php", "drifted"), id="a preserved file"),
        pytest.param(("CONFLICT", "option", "tagline"), id="a conflict"),
        pytest.param(("promote", "component", "themes/leaf"), id="what goes up"),
        pytest.param(("keep production's", "option", "blogname"), id="what stays"),
        pytest.param(("posts", "30", "101, 102 and 28 more"), id="only on the source"),
        pytest.param(("leave 12 mergeable resources",), id="unchanged"),
        pytest.param(("pin", "c" * 64), id="fingerprint"),
    ],
)
def test_a_person_reads(words: tuple[str, ...]) -> None:
    assert find_line(read(), *words)


def test_the_gate_comes_first_and_in_it_what_changed() -> None:
    text = read()
    places = [text.index(word) for word in ("drifted (checked", "protected: gates", "preserved: never")]
    assert places == sorted(places)
    assert text.index("posts ") < text.index("comments ")


def test_what_was_and_is_not_there_is_only_counted() -> None:
    text = read()
    assert "wc_orders" not in text
    assert "1 more were and are not there" in text


def test_no_digest_of_a_preserved_option_or_file_is_put_into_git() -> None:
    told = {item.name: (item.before, item.after) for item in CHECK.resources}
    assert told["mailserver_pass"] == told["wp-config.php"] == (None, None)
    assert told["users"] == (THEN, SINCE)
    assert {item.name: item.verdict for item in CHECK.resources}["mailserver_pass"] is Verdict.DRIFTED
    assert all(item.protection is not ResourceClass.MERGEABLE for item in CHECK.resources)


def test_a_baseline_that_was_refused_says_why_and_what_next() -> None:
    refused = CHECK.model_copy(update={"status": DriftStatus.UNKNOWN, "reason": "an older one was put back"})
    assert "--scope full" in find_line(read(refused), "an older one was put back")


def test_a_check_of_an_earlier_baseline_says_so() -> None:
    record = EnvironmentRecord(
        id=SOME_ID,
        name="staging",
        site_id=SOME_ID,
        status=EnvironmentStatus.ACTIVE,
        created_at=NOW,
        updated_at=NOW,
        baseline_id=SECOND,
    )
    assert "drift-check" in find_line(read(record=record), "moved on")
    assert "moved on" not in read(record=record.model_copy(update={"baseline_id": FIRST}))


def test_what_else_keeps_a_promotion_back_is_told() -> None:
    difference = SchemaDifference(table="posts", difference="only on the source: `x` int")
    text = read(
        CHECK.model_copy(
            update={"schema_differences": (difference,), "pending_upgrade": "the database to 60999"}
        )
    )
    assert "only on the source: `x` int" in find_line(text, "table posts")
    assert find_line(text, "pending", "60999")
