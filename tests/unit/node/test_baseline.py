"""The baseline's life: taken, advanced per resource, read back, and never trusted when it was touched."""

import json
import stat
from pathlib import Path

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.baseline import (
    Baseline,
    advance_baseline,
    make_baseline,
    read_baseline,
    read_evidence,
    write_baseline,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import Measure
from ansible_collections.pressluft.wordpress.plugins.module_utils.seal import KEY_FILE

SOURCE = "33333333-3333-4333-8333-333333333333"


def measured(**digests: str | None) -> dict[str, Measure]:
    """Measurements of tables, each with evidence that repeats its digest."""
    return {
        f"table:{name}": Measure(digest and f"sha256:{digest}", evidence={"of": digest})
        for name, digest in digests.items()
    }


def make(production: dict[str, Measure], source: dict[str, Measure]) -> Baseline:
    return make_baseline(
        job_id="j1", production_id="p", source_id=SOURCE, production=production, source=source
    )


BASELINE = make(measured(posts="a1", users="b1", gone=None), measured(posts="a2", users="b2", gone=None))


def test_a_baseline_holds_both_sides_of_each_resource() -> None:
    assert BASELINE["resources"]["table:posts"] == {"production": "sha256:a1", "source": "sha256:a2"}
    assert (BASELINE["job_id"], BASELINE["production_id"], BASELINE["source_id"]) == ("j1", "p", SOURCE)


def test_what_is_absent_on_both_sides_is_not_in_it() -> None:
    assert "table:gone" not in BASELINE["resources"]


def test_a_resource_of_one_side_alone_is_absent_on_the_other() -> None:
    baseline = make(measured(a="1"), measured(b="2"))
    assert baseline["resources"]["table:a"] == {"production": "sha256:1", "source": None}
    assert baseline["resources"]["table:b"] == {"production": None, "source": "sha256:2"}


def test_advancing_changes_the_named_resources_and_no_others() -> None:
    advanced = advance_baseline(
        BASELINE,
        ["table:posts"],
        job_id="j2",
        production=measured(posts="a3", users="b3"),
        source=measured(posts="a4", users="b4"),
    )
    assert advanced["resources"]["table:posts"] == {"production": "sha256:a3", "source": "sha256:a4"}
    assert advanced["resources"]["table:users"] == BASELINE["resources"]["table:users"]
    assert (advanced["id"] != BASELINE["id"], advanced["job_id"]) == (True, "j2")
    assert BASELINE["resources"]["table:posts"]["production"] == "sha256:a1"


def test_advancing_to_nothing_forgets_the_resource() -> None:
    advanced = advance_baseline(BASELINE, ["table:posts"], job_id="j2", production={}, source={})
    assert "table:posts" not in advanced["resources"]


def test_what_could_not_be_read_never_becomes_a_baseline() -> None:
    with pytest.raises(NodeError, match="table:posts could not be read: locked") as caught:
        make({"table:posts": Measure(None, unreadable="locked")}, {})
    assert caught.value.code == "DRIFT_CHECK_FAILED"


def test_a_baseline_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_baseline(str(tmp_path), SOURCE) is None
    write_baseline(str(tmp_path), SOURCE, BASELINE, production={})
    assert read_baseline(str(tmp_path), SOURCE) == BASELINE


@pytest.mark.parametrize("content", ["", "{}", "[]", "null ", '{"id": "x"', "\xff"])
def test_a_file_that_is_no_baseline_is_refused(tmp_path: Path, content: str) -> None:
    write_baseline(str(tmp_path), SOURCE, BASELINE, production={})
    (tmp_path / SOURCE / "baseline.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(NodeError, match="cannot be trusted"):
        read_baseline(str(tmp_path), SOURCE)


@pytest.mark.parametrize("field", ["job_id", "taken_at", "production_id", "resources"])
def test_an_edited_baseline_is_refused(tmp_path: Path, field: str) -> None:
    write_baseline(str(tmp_path), SOURCE, BASELINE, production={})
    edited = dict(BASELINE, **{field: {} if field == "resources" else "other"})
    (tmp_path / SOURCE / "baseline.json").write_text(json.dumps(edited))
    with pytest.raises(NodeError, match="cannot be trusted"):
        read_baseline(str(tmp_path), SOURCE)


def test_a_baseline_that_was_edited_with_its_id_made_anew_is_refused(tmp_path: Path) -> None:
    state = str(tmp_path)
    write_baseline(state, SOURCE, BASELINE, production={})
    path = tmp_path / SOURCE / "baseline.json"
    forged = make(measured(posts="a9", users="b1"), measured(posts="a2", users="b2"))
    path.write_text(json.dumps(dict(forged, seal=json.loads(path.read_text())["seal"])))
    with pytest.raises(NodeError, match="does not belong to its seal"):
        read_baseline(state, SOURCE)


def test_a_baseline_without_a_seal_is_refused(tmp_path: Path) -> None:
    write_baseline(str(tmp_path), SOURCE, BASELINE, production={})
    (tmp_path / SOURCE / "baseline.json").write_text(json.dumps(BASELINE))
    with pytest.raises(NodeError, match="cannot be trusted"):
        read_baseline(str(tmp_path), SOURCE)


def test_a_baseline_of_another_source_is_refused(tmp_path: Path) -> None:
    other = SOURCE.replace("3", "4")
    write_baseline(str(tmp_path), SOURCE, BASELINE, production={})
    write_baseline(str(tmp_path), other, BASELINE, production={})
    (tmp_path / SOURCE / "baseline.json").replace(tmp_path / other / "baseline.json")
    with pytest.raises(NodeError, match="does not belong to its seal"):
        read_baseline(str(tmp_path), other)


def test_a_baseline_that_another_node_sealed_is_refused(tmp_path: Path) -> None:
    for node in ("a", "b"):
        (tmp_path / node).mkdir()
        write_baseline(str(tmp_path / node), SOURCE, BASELINE, production={})
    (tmp_path / "a" / SOURCE / "baseline.json").replace(tmp_path / "b" / SOURCE / "baseline.json")
    with pytest.raises(NodeError, match="does not belong to its seal"):
        read_baseline(str(tmp_path / "b"), SOURCE)


@pytest.mark.parametrize("key", [None, b"", b"x" * 32])
def test_without_the_nodes_own_key_no_baseline_is_believed(tmp_path: Path, key: bytes | None) -> None:
    write_baseline(str(tmp_path), SOURCE, BASELINE, production={})
    (tmp_path / KEY_FILE).unlink()
    if key is not None:
        (tmp_path / KEY_FILE).write_bytes(key)
    with pytest.raises(NodeError, match="cannot be trusted"):
        read_baseline(str(tmp_path), SOURCE)


def test_the_nodes_key_is_for_root_alone_and_stays(tmp_path: Path) -> None:
    write_baseline(str(tmp_path), SOURCE, BASELINE, production={})
    key = tmp_path / KEY_FILE
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    write_baseline(str(tmp_path), SOURCE, BASELINE, production={})
    assert key.read_bytes() == before


def test_a_prepared_baseline_that_was_edited_while_it_waited_is_not_sealed(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="does not belong to its id"):
        write_baseline(str(tmp_path), SOURCE, dict(BASELINE, job_id="other"), production={})


def test_evidence_lies_beside_the_baseline_under_its_digest(tmp_path: Path) -> None:
    write_baseline(str(tmp_path), SOURCE, BASELINE, production=measured(posts="a1"))
    assert read_evidence(str(tmp_path), SOURCE, "sha256:a1") == {"of": "a1"}
    assert read_evidence(str(tmp_path), SOURCE, "sha256:b1") is None


def test_evidence_stays_for_a_rollback_and_goes_with_the_next_baseline(tmp_path: Path) -> None:
    state = str(tmp_path)
    write_baseline(state, SOURCE, BASELINE, production=measured(posts="a1", users="b1"))
    for digest in ("a3", "a5"):
        now = measured(posts=digest)
        advanced = advance_baseline(
            BASELINE, ["table:posts"], job_id="j", production=now, source=measured(posts="x")
        )
        write_baseline(state, SOURCE, advanced, production=now)
        assert (read_evidence(state, SOURCE, "sha256:a1") is not None) is (digest == "a3")
        assert read_evidence(state, SOURCE, "sha256:b1") == {"of": "b1"}


def test_a_broken_piece_of_evidence_costs_samples_only(tmp_path: Path) -> None:
    write_baseline(str(tmp_path), SOURCE, BASELINE, production=measured(posts="a1"))
    (tmp_path / SOURCE / "evidence" / "a1.json").write_text("{")
    assert read_evidence(str(tmp_path), SOURCE, "sha256:a1") is None
