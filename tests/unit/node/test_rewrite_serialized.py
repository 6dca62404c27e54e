"""PHP's serialize grammar: what is read, what is left alone, and what it costs."""

from __future__ import annotations

import time

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.php_serialize import (
    MAX_DEPTH,
    Malformed,
    read_serialized,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.rewrite import (
    MAX_LAYERS,
    make_url_replacements,
    rewrite,
)

TABLE = make_url_replacements("https://old.test", "https://longer.example", "", "")
URL = b"https://old.test"
S = b's:16:"https://old.test";'
S_NEW = b's:22:"https://longer.example";'


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(S, id="bare string"),
        pytest.param(b"a:1:{i:-5;%s}" % S, id="array"),
        pytest.param(b'O:7:"Acme\\Ab":1:{s:3:"\0*\0";%s}' % S, id="object of an unknown class"),
        pytest.param(b"a:5:{i:0;%si:1;R:2;i:2;r:1;i:3;b:1;i:4;N;}" % S, id="references"),
        pytest.param(b'a:2:{i:0;E:11:"Suit:Hearts";i:1;%s}' % S, id="enum"),
        pytest.param(b"a:6:{i:0;d:0.1;i:1;d:-INF;i:2;d:NAN;i:3;d:1.0E+25;i:4;d:.5;i:5;%s}" % S, id="floats"),
        pytest.param(b"a:2:{i:0;a:0:{}i:1;%s}" % S, id="empty array"),
        pytest.param(b" \n%s\0\t" % S, id="space around it, which WordPress trims"),
        pytest.param(
            b'a:3:{i:0;C:11:"ArrayObject":37:{x:i:0;a:2:{i:0;i:1;i:1;i:2;};m:a:0:{}}i:1;R:6;i:2;%s}' % S,
            id="reference to what a payload holds",
        ),
        pytest.param(b'a:1:{S:2:"\\00a";%s}' % S, id="binary key"),
    ],
)
def test_every_token_of_the_grammar_is_read(text: bytes) -> None:
    assert rewrite(text, TABLE) == (text.replace(S, S_NEW), 1, ())


def test_a_binary_string_is_counted_by_what_it_stands_for() -> None:
    text = b'S:19:"\\00\\5c https://old.test";'
    assert rewrite(text, TABLE).value == b'S:25:"\\00\\5c https://longer.example";'


def test_an_address_is_found_through_the_escapes_of_a_binary_string() -> None:
    table = make_url_replacements("https://old.test", "http://new.test/a", "", "")
    assert rewrite(b'S:18:"https:\\5c\\2f\\5c/old.test";', table).value == (
        b'S:20:"http:\\5c/\\5c/new.test\\5c/a";'
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"%sgarbage" % S, id="bytes behind a bare string"),
        pytest.param(b"a:1:{i:0;%s}x" % S, id="bytes behind an array"),
        pytest.param(b"%s%s" % (S, S), id="two values"),
        pytest.param(b'a:1:{i:0;s:15:"https://old.test";}', id="length too short"),
        pytest.param(b'a:1:{i:0;s:17:"https://old.test";}', id="length too long"),
        pytest.param(b"a:2:{i:0;%s}" % S, id="count too high"),
        pytest.param(b"a:0:{i:0;%s}" % S, id="count too low"),
        pytest.param(b"a:1:{i:0;%s" % S, id="not closed"),
        pytest.param(b'a:1:{i:0;s:16:"https://old.t' + b"est", id="cut off"),
        pytest.param(b'a:1:{i:0;s:16:\\"https://old.test\\";}', id="with slashes added"),
        pytest.param(b"a:1:{i:0;s:16:&quot;https://old.test&quot;;}", id="with entities"),
        pytest.param(b"a:1:{d:0.5;%s}" % S, id="float as a key"),
        pytest.param(b"a:1:{N;%s}" % S, id="null as a key"),
        pytest.param(b"a:2:{i:0;%si:1;R:3;}" % S, id="reference to nothing"),
        pytest.param(b"a:2:{i:0;b:2;i:1;%s}" % S, id="no boolean"),
        pytest.param(b'a:2:{i:0;E:4:"Suit";i:1;%s}' % S, id="enum without a case"),
        pytest.param(b'O:4:"Foo":1:{s:1:"a";%s}' % S, id="length of a class"),
        pytest.param(b'O:3:"F o":1:{s:1:"a";%s}' % S, id="name of a class"),
        pytest.param(b"a:999999999999999999999:{i:0;%s}" % S, id="absurd count"),
        pytest.param(b's:%s:"https://old.test";' % (b"9" * 5000), id="absurd length"),
        pytest.param(b'C:3:"Foo":16:{https://old.test]', id="payload not closed"),
        pytest.param(b'S:17:"https://old.test\\zz";', id="bad binary escape"),
    ],
)
def test_what_php_could_not_read_is_left_alone_and_reported(text: bytes) -> None:
    value, count, left_alone = rewrite(text, TABLE)
    assert (value, count) == (text, 0)
    assert len(left_alone) == 1
    assert "serialized data" in left_alone[0]


def test_broken_data_with_nothing_to_replace_is_not_worth_a_report() -> None:
    assert rewrite(b'a:1:{i:0;s:5:"https://www.old.test";}', TABLE).left_alone == ()


@pytest.mark.parametrize("text", [b"s:5: https://old.test", b"a:1 https://old.test", b"C: https://old.test"])
def test_text_that_only_looks_like_serialized_data_is_text(text: bytes) -> None:
    assert rewrite(text, TABLE) == (text.replace(URL, b"https://longer.example"), 1, ())


def test_a_broken_string_inside_leaves_the_rest_to_be_rewritten() -> None:
    broken = b's:99:"https://old.test'
    text = b'a:2:{i:0;s:%d:"%s";i:1;%s}' % (len(broken), broken, S)
    value, count, left_alone = rewrite(text, TABLE)
    assert (value, count, len(left_alone)) == (text.replace(S, S_NEW), 1, 1)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        pytest.param(b"a:1:{i:0;%s}" % S, b"a:1:{i:0;%s}" % S_NEW, id="serialized data"),
        pytest.param(b"x:i:0;a:1:{i:0;%s};m:a:0:{}" % S, b"x:i:0;a:1:{i:0;%s};m:a:0:{}" % S_NEW, id="SPL"),
        pytest.param(
            b"%s;R:40;" % S, b"%s;R:40;" % S_NEW, id="serialized data that refers to what is around it"
        ),
        pytest.param(b'{"u":"https:\\/\\/old.test"}', b'{"u":"https:\\/\\/longer.example"}', id="JSON"),
        pytest.param(b"see https://old.test/", b"see https://longer.example/", id="text"),
    ],
)
def test_a_payload_of_a_readable_kind_is_rewritten(payload: bytes, expected: bytes) -> None:
    text = b'a:1:{i:0;C:3:"Foo":%d:{%s}}' % (len(payload), payload)
    assert rewrite(text, TABLE) == (b'a:1:{i:0;C:3:"Foo":%d:{%s}}' % (len(expected), expected), 1, ())


@pytest.mark.parametrize(
    "payload",
    [b"16:https://old.test", b"\0\x10https://old.test", b"https://old.test|4|", b"16|https://old.test"],
)
def test_a_payload_that_may_count_bytes_is_left_alone_and_reported(payload: bytes) -> None:
    text = b'a:2:{i:0;C:3:"Foo":%d:{%s}i:1;%s}' % (len(payload), payload, S)
    value, count, left_alone = rewrite(text, TABLE)
    assert (value, count) == (text.replace(b"i:1;" + S, b"i:1;" + S_NEW), 1)
    assert left_alone == ("the payload of a C: object, which only its class can read",)


def test_arrays_are_read_as_deep_as_php_reads_them() -> None:
    deepest = b"a:1:{i:0;" * MAX_DEPTH + S + b"}" * MAX_DEPTH
    assert rewrite(deepest, TABLE) == (deepest.replace(S, S_NEW), 1, ())
    value, _, left_alone = rewrite(b"a:1:{i:0;" + deepest + b"}", TABLE)
    assert value == b"a:1:{i:0;" + deepest + b"}"
    assert "which PHP does not read" in left_alone[0]


def test_strings_in_strings_are_read_to_a_bound() -> None:
    text = S
    for _ in range(MAX_LAYERS - 1):
        text = b's:%d:"%s";' % (len(text), text)
    assert rewrite(text, TABLE).count == 1
    for _ in range(1000):
        text = b's:%d:"%s";' % (len(text), text)
    value, count, left_alone = rewrite(text, TABLE)
    assert (value, count) == (text, 0)
    assert "nested more than" in left_alone[0]


def test_payloads_in_payloads_are_read_to_a_bound() -> None:
    text = S
    for _ in range(1000):
        text = b'C:1:"A":%d:{%s}' % (len(text), text)
    value, count, left_alone = rewrite(text, TABLE)
    assert (value, count) == (text, 0)
    assert "nested more than" in left_alone[0]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"\\" * 300_000 + b"old.test", id="backslashes"),
        pytest.param(b'"' + b'\\"' * 150_000 + b"old.test", id="escaped quotes"),
        pytest.param(b"%25" * 100_000 + b"old.test", id="percents"),
        pytest.param(b"@" * 300_000 + b"old.test", id="at signs"),
        pytest.param(b"//" * 150_000 + b"old.test", id="slashes"),
        pytest.param(b"old.test" * 40_000, id="the name over and over"),
        pytest.param(b"[" * 300_000 + b"old.test", id="brackets"),
        pytest.param(b"[" * 150_000 + b'"old.test"' + b"]" * 150_000, id="deep JSON"),
        pytest.param(b'["' + b'","'.join([b"old.test"] * 20_000) + b'"]', id="many short JSON strings"),
        pytest.param(b"a:1:{i:0;" * 40_000 + b"old.test", id="arrays never closed"),
        pytest.param(
            b"a:20000:{" + b"".join(b'i:%d;s:8:"old.test";' % n for n in range(20_000)) + b"}",
            id="wide array",
        ),
    ],
)
def test_no_text_takes_more_than_time_in_proportion(text: bytes) -> None:
    started = time.process_time()
    rewrite(text, TABLE)
    assert time.process_time() - started < 5  # a quadratic step takes minutes for these


def test_positions_of_texts_and_keys_are_told() -> None:
    key, text = read_serialized(b'a:1:{s:1:"k";s:2:"ab";}')
    assert (key.is_key, key.start, key.end, key.length) == (True, 10, 11, 1)
    assert (text.is_key, text.start, text.end, text.length_at) == (False, 18, 20, 15)


def test_malformed_data_names_the_byte() -> None:
    with pytest.raises(Malformed, match="at byte 5"):
        read_serialized(b"a:1:{x}")
