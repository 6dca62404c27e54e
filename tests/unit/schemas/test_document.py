import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.document import DocumentInvalid, read_document, read_fleet_file, read_intent, read_status
from schemas.intent import Promotion
from schemas.problem import MOST_PROBLEMS
from schemas.syntax import MOST_BYTES, MOST_LEVELS
from tests.unit.schemas.documents import ALL, FLEET, FLEET_PATH, PROMOTION, PROMOTION_PATH


def read_invalid(data: bytes, *, path: str = PROMOTION_PATH) -> DocumentInvalid:
    with pytest.raises(DocumentInvalid) as caught:
        read_document(data, path=path)
    return caught.value


def with_reason(written: str) -> bytes:
    return PROMOTION.replace(b"reason: New checkout theme", f"reason: {written}".encode())


@pytest.mark.parametrize(("path", "data"), ALL.items(), ids=ALL.keys())
def test_a_valid_document_is_read(path: str, data: bytes) -> None:
    assert read_document(data, path=path).api_version == "pressluft/v1"


@pytest.mark.parametrize(
    "written",
    [
        "no", "on", "yes", "y", "true", "False", "010", "0x1f", "0b1", "1:30", "3.10", "1e3", ".inf", ".NaN", "123",
        "1_000", "2026-01-02", "2026-01-02T03:04:05Z", "=", "+1", "nil", "none",
    ],
)  # fmt: skip
def test_an_unquoted_text_stays_as_it_was_written(written: str) -> None:
    intent = read_intent(with_reason(written), path=PROMOTION_PATH)
    assert isinstance(intent, Promotion)
    assert intent.spec.reason == written


@pytest.mark.parametrize("written", ["", "~", "null", "Null", "NULL"])
def test_null_leaves_a_field_out(written: str) -> None:
    intent = read_intent(with_reason(written), path=PROMOTION_PATH)
    assert intent.spec.reason is None


@pytest.mark.parametrize("written", ['"null"', "'~'", '"true"'])
def test_a_quoted_text_is_a_text(written: str) -> None:
    intent = read_intent(with_reason(written), path=PROMOTION_PATH)
    assert intent.spec.reason == written.strip("'\"")


@pytest.mark.parametrize("name", ["123", "3-10", "true", "null-and-void", "010"])
def test_a_name_may_look_like_a_number(name: str) -> None:
    data = PROMOTION.replace(b"{name: spring-release}", f"{{name: {name}}}".encode())
    assert read_intent(data, path=f"intents/acme/{name}.yaml").metadata.name == name


def test_a_name_of_digits_with_a_dot_says_what_a_name_is() -> None:
    error = read_invalid(PROMOTION.replace(b"spring-release", b"3.10"), path="intents/acme/3.10.yaml")
    assert error.field == "metadata.name"
    assert "lower-case letters" in error.expected


def test_windows_line_ends_and_a_byte_order_mark_are_taken() -> None:
    data = b"\xef\xbb\xbf" + PROMOTION.replace(b"\n", b"\r\n")
    assert read_intent(data, path=PROMOTION_PATH) == read_intent(PROMOTION, path=PROMOTION_PATH)


@pytest.mark.parametrize(
    ("data", "line", "column", "expected"),
    [
        pytest.param(b"", 1, 1, "a mapping", id="empty"),
        pytest.param(b"# nothing\n", 1, 1, "a mapping", id="only a comment"),
        pytest.param(b"- a\n- b\n", 1, 1, "a mapping", id="list"),
        pytest.param(b"---\nhello\n", 2, 1, "a mapping", id="text"),
        pytest.param(b"a: 1\nb: 2\na: 3\n", 3, 1, "line 1 already", id="duplicate key"),
        pytest.param(b"a: 1\n'a': 3\n", 2, 1, "line 1 already", id="duplicate key in quotes"),
        pytest.param(b"s: {x: 1, y: 2, x: 3}\n", 1, 17, "each field once", id="duplicate inner key"),
        pytest.param(b"a: &x 1\n", 1, 4, "no anchor", id="anchor"),
        pytest.param(b"a: &x [1]\n", 1, 4, "no anchor", id="anchor on a list"),
        pytest.param(b"&x a: 1\n", 1, 1, "no anchor", id="anchor on a key"),
        pytest.param(b"a: *x\n", 1, 4, "alias *x", id="alias"),
        pytest.param(b"a: {<<: {b: 1}}\n", 1, 5, "merge key", id="merge key"),
        pytest.param(b"a: !!str 1\n", 1, 4, "no tag", id="tag"),
        pytest.param(b"a: !x {}\n", 1, 4, "no tag", id="own tag on a mapping"),
        pytest.param(b"a: ! 1\n", 1, 4, "no tag", id="bare tag"),
        pytest.param(b"a: !!python/object/apply:os.system [ls]\n", 1, 4, "no tag", id="python object"),
        pytest.param(b"%YAML 1.1\n---\na: 1\n", 1, 1, "directive", id="yaml directive"),
        pytest.param(b"%TAG ! x\n---\na: 1\n", 1, 1, "directive", id="tag directive"),
        pytest.param(b"a: 1\n---\na: 1\n", 2, 1, "one document", id="two documents"),
        pytest.param(b"---\n---\na: 1\n", 2, 1, "one document", id="an empty document first"),
        pytest.param(b"a: 1\n... \nb: 1\n", 3, 1, "document start", id="a second document without dashes"),
        pytest.param(b"? [a]\n: b\n", 1, 3, "field's name", id="list as key"),
        pytest.param(b"? {a: b}\n: b\n", 1, 3, "field's name", id="mapping as key"),
        pytest.param(b"~: 1\n", 1, 1, "field's name", id="null as key"),
        pytest.param(b"a:\tb\n", 1, 3, "instead of a tab", id="tab"),
        pytest.param(b"a:\n\tb: 1\n", 2, 1, "instead of a tab", id="tab as indent"),
        pytest.param(b"a: x\x00y\n", 1, 5, "U+0000", id="nul"),
        pytest.param(b"a: x\x1b[31my\n", 1, 5, "U+001B", id="escape"),
        pytest.param("a: x\u0085y\n".encode(), 1, 5, "U+0085", id="next line"),
        pytest.param("a: x\u2028y\n".encode(), 1, 5, "U+2028", id="line separator"),
        pytest.param("a: \ufeffy\n".encode(), 1, 4, "U+FEFF", id="byte order mark inside"),
        pytest.param(b"a: x\ry\n", 1, 5, "U+000D", id="lone carriage return"),
        pytest.param(b'a: "x\\0y"\n', 1, 4, "control characters", id="escaped nul"),
        pytest.param(b'a: "x\\ty"\n', 1, 4, "control characters", id="escaped tab"),
        pytest.param(b'"a\\ab": 1\n', 1, 1, "control characters", id="escaped bell in a key"),
        pytest.param(b"a: 1\nb: \xff\n", 2, 4, "UTF-8", id="not utf-8"),
        pytest.param("a: ä".encode("utf-16"), 1, 1, "UTF-8", id="utf-16"),
        pytest.param(b'a: "\xed\xa0\x80"\n', 1, 5, "UTF-8", id="surrogate"),
        pytest.param(b"a: b: c\n", 1, 5, "YAML", id="two colons"),
        pytest.param(b"a: [1, 2\n", 2, 1, "YAML", id="open list"),
        pytest.param(b"a: 'x\n", 2, 1, "YAML", id="open quote"),
        pytest.param(b"a: @b\n", 1, 4, "YAML", id="reserved character"),
        pytest.param("ä: [ü, @b]\n".encode(), 1, 8, "YAML", id="columns count characters"),
        pytest.param(b"a" * (MOST_BYTES + 1), 1, 1, "64 KiB", id="too long"),
        pytest.param(b"[" * 60_000, 1, MOST_LEVELS + 1, "32 levels", id="deep flow list"),
        pytest.param(b"{a: " * 15_000, 1, 4 * MOST_LEVELS + 1, "32 levels", id="deep flow mapping"),
        pytest.param(b"- " * 30_000, 1, 2 * MOST_LEVELS + 1, "32 levels", id="deep block list"),
        pytest.param(b"? " * 30_000, 1, 3, "field's name", id="deep keys"),
    ],
)
def test_what_is_not_plain_data_is_refused_where_it_stands(
    data: bytes, line: int, column: int, expected: str
) -> None:
    started = time.thread_time()
    error = read_invalid(data)
    assert time.thread_time() - started < 2
    assert (error.line, error.column) == (line, column)
    assert expected in error.expected
    assert str(error).startswith(f"{PROMOTION_PATH}:{line}:{column}: ")


@pytest.mark.parametrize("levels", [MOST_LEVELS - 1, MOST_LEVELS])
def test_the_limit_of_levels_is_exact(levels: int) -> None:
    error = read_invalid(b"a: " + b"[" * levels + b"]" * levels)
    assert ("levels" in error.expected) is (levels == MOST_LEVELS)


def test_64_kib_are_not_too_long() -> None:
    padding = b"#" * (MOST_BYTES - len(PROMOTION) - 1) + b"\n"
    assert read_intent(padding + PROMOTION, path=PROMOTION_PATH).metadata.name == "spring-release"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"reason", b"raeson", "4:45: spec.raeson: unknown field; did you mean reason?"),
        (b"reason", b"zzz", "4:45: spec.zzz: unknown field; known are reason, actor, "),
        (b"source: staging, ", b"", "4:1: spec.source: expected this field, which is required"),
        (b"staging", b"", "4:8: spec.source: expected a string"),
        (b"staging", b"[a]", "4:16: spec.source: expected a string"),
        (b"staging", b"Staging", "4:16: spec.source: expected a name of lower-case letters"),
        (b"kind: Promotion", b"kind: promotion", "2:1: kind: expected Backup, Cancel, "),
        (b"kind: Promotion", b"kind: [Promotion]", "2:1: kind: expected Backup, Cancel, "),
        (b"kind: Promotion\n", b"", "1:1: kind: expected this field, which is required"),
        (b"apiVersion: pressluft/v1\n", b"", "1:1: apiVersion: expected this field, which is required"),
        (b"apiVersion", b"api_version", "1:1: apiVersion: expected this field, which is required"),
        (b"pressluft/v1", b"pressluft/v2", "1:13: apiVersion: expected pressluft/v1"),
        (b"{name: spring-release}", b"spring-release", "3:11: metadata: expected a mapping"),
        (b"{name: spring-release}", b"", "3:1: metadata: expected a mapping"),
        (b"spring-release", b"autumn-release", "3:18: metadata.name: expected spring-release"),
        (b"{name: spring-release}", b"{name: spring-release, id: 5}", "3:38: metadata.id: expected a UUID"),
        (b"reason:", b"<<:", "4:45: expected no merge key <<"),
    ],
)
def test_an_error_names_place_field_and_what_was_expected(old: bytes, new: bytes, message: str) -> None:
    error = read_invalid(PROMOTION.replace(old, new))
    assert str(error).startswith(f"{PROMOTION_PATH}:{message}")


def test_all_problems_are_reported_in_the_order_of_the_file() -> None:
    damaged = FLEET.replace(b"PT2H", b"2 hours").replace(b"overwrite_policy: warn", b"overwrite: maybe")
    error = read_invalid(damaged, path=FLEET_PATH)
    assert [problem.field for problem in error.problems] == ["spec.backup_max_age", "spec.overwrite"]
    assert error.report.count("\n") == 1


def test_a_file_full_of_mistakes_is_no_burden() -> None:
    mistakes = ", ".join(f"reaso{number}" for number in range(5_000))
    started = time.thread_time()
    error = read_invalid(PROMOTION.replace(b"reason: New checkout theme", mistakes.encode()))
    assert time.thread_time() - started < 2
    assert len(error.problems) == MOST_PROBLEMS


def test_a_place_in_a_list_is_told() -> None:
    error = read_invalid(
        FLEET.replace(b"time_zone: Europe/Berlin", b"timezone: Europe/Berlin"), path=FLEET_PATH
    )
    assert str(error).startswith(
        "pressluft.yaml:10:51: spec.freeze_windows[0].timezone: unknown field; did you mean time_zone?"
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("intents/acme/../spring-release.yaml", "without control characters"),
        ("intents/spring-release.yaml", "layout"),
        ("status/acme/ended.txt", "layout"),
        ("sites/acme/environments/spring-release.yaml", "Environment"),
        ("nodes/spring-release.yaml", "Node"),
        ("pressluft.yaml", "Fleet"),
    ],
)
def test_a_document_in_the_wrong_place_is_refused(path: str, expected: str) -> None:
    assert expected in read_invalid(PROMOTION, path=path).expected


def test_a_document_outside_of_a_fleet_repo_may_have_any_name() -> None:
    assert read_document(PROMOTION, path="draft.yaml") == read_intent(PROMOTION, path=PROMOTION_PATH)


@pytest.mark.parametrize("read", [read_fleet_file, read_status])
def test_a_reader_takes_only_its_own_kinds(read: object) -> None:
    assert callable(read)
    with pytest.raises(DocumentInvalid):
        read(PROMOTION, path="draft.yaml")


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    with pytest.raises(DocumentInvalid):
        read_document(data, path=PROMOTION_PATH)


PIECES = st.sampled_from(
    ["a", "kind", "spec", "metadata", "apiVersion", "name", ": ", ":", "\n", "  ", "- ", "[", "]", "{", "}", ", ", "'",
     '"', "|", ">", "&x", "*x", "!", "%", "#", "---", "...", "? ", "<<", "~", "null", "\\", "ü", "\u2028", "Promotion",
     "pressluft/v1", "0", "\t"]
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(PIECES, max_size=40).map("".join))
def test_no_yaml_breaks_the_reader(text: str) -> None:
    with pytest.raises(DocumentInvalid):
        read_document(text.encode(), path=PROMOTION_PATH)


@settings(deadline=None)
@given(st.data())
def test_no_damage_to_a_valid_document_breaks_the_reader(data: st.DataObject) -> None:
    path, valid = data.draw(st.sampled_from(sorted(ALL.items())))
    text = valid.decode()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    damaged = text[:start] + data.draw(PIECES) + text[end:]
    line = find_error_line(damaged.encode(), path=path)
    assert 0 <= line <= damaged.count("\n") + 2


def find_error_line(data: bytes, *, path: str) -> int:
    """The line of the error, 0 where there is none; anything but DocumentInvalid is passed on."""
    try:
        read_document(data, path=path)
    except DocumentInvalid as error:
        return error.line
    return 0
