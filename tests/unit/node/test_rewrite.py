"""What counts as an address of the site, what takes its place, and in which escape."""

from __future__ import annotations

import json

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.rewrite import (
    Rewriter,
    make_url_replacements,
    rewrite,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.rewrite_json import find_literals

TABLE = make_url_replacements("https://old.test", "http://new.example:8080/blog", "/var/www/old", "/srv/new")
NEW = b"http://new.example:8080/blog"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"https://old.testing.com/", id="longer top level"),
        pytest.param(b"https://old.test.com/", id="longer domain"),
        pytest.param(b"https://my-old.test/", id="longer label with a hyphen"),
        pytest.param(b"https://xold.test/", id="longer label"),
        pytest.param(b"https://www.old.test/", id="subdomain"),
        pytest.param(b"https://old.test:8080/", id="another port"),
        pytest.param(b"https%3A%2F%2Fold.test%3A8080", id="another port, percent-encoded"),
        pytest.param(b"old.test-2", id="hyphen behind"),
        pytest.param(b"old.test_2", id="underscore behind"),
        pytest.param(b"my%2Dold.test", id="percent-encoded hyphen before"),
        pytest.param(rb"my\u002dold.test", id="JSON-escaped hyphen before"),
        pytest.param(rb"old.test\u002dmore", id="JSON-escaped hyphen behind"),
        pytest.param("grüold.test".encode(), id="letter with an umlaut before"),
        pytest.param("old.testé".encode(), id="letter with an accent behind"),
        pytest.param(b"write to info@old.test", id="e-mail address"),
        pytest.param(b"mailto:info@old.test", id="mailto"),
        pytest.param(b"old.test@mail.example", id="local part of an e-mail address"),
        pytest.param(b"/srv/var/www/old/x", id="end of a longer path"),
        pytest.param(b"./var/www/old/x", id="relative path"),
        pytest.param(b"/var/www/older", id="longer folder"),
        pytest.param(b"/var/www/old-2/x", id="folder with a hyphen"),
        pytest.param(b"/var/www/old.bak/x", id="folder with a suffix"),
        pytest.param(b"OLD.TEST", id="other case"),
    ],
)
def test_another_name_is_not_touched(text: bytes) -> None:
    assert rewrite(text, TABLE) == (text, 0, ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(b"https://old.test", NEW, id="https"),
        pytest.param(b"http://old.test/a", NEW + b"/a", id="http goes to the target's scheme too"),
        pytest.param(b"//old.test/a", b"//new.example:8080/blog/a", id="protocol-relative"),
        pytest.param(b"old.test", b"new.example:8080/blog", id="bare"),
        pytest.param(b"at old.test. The", b"at new.example:8080/blog. The", id="end of a sentence"),
        pytest.param(b"old.test: five stars", b"new.example:8080/blog: five stars", id="colon in prose"),
        pytest.param(b".old.test", b".new.example:8080/blog", id="cookie domain"),
        pytest.param("请访问old.test购物".encode(), "请访问new.example:8080/blog购物".encode(), id="Chinese"),
        pytest.param("“old.test”".encode(), "“new.example:8080/blog”".encode(), id="typographic quotes"),
        pytest.param(b"https://u:p@old.test/", b"https://u:p@new.example:8080/blog/", id="user and password"),
        pytest.param(rb"https:\/\/old.test\/a", rb"http:\/\/new.example:8080\/blog\/a", id="JSON"),
        pytest.param(
            rb"https:\\\/\\\/old.test\\\/a", rb"http:\\\/\\\/new.example:8080\\\/blog\\\/a", id="JSON twice"
        ),
        pytest.param(
            rb"https:\u002f\u002Fold.test", rb"http:\u002F\u002Fnew.example:8080\u002Fblog", id="JSON hex"
        ),
        pytest.param(
            b"https%3A%2F%2Fold.test%2Fa", b"http%3A%2F%2Fnew.example%3A8080%2Fblog%2Fa", id="percent"
        ),
        pytest.param(b"https%3a%2f%2fold.test", b"http%3a%2f%2fnew.example%3a8080%2fblog", id="lower hex"),
        pytest.param(
            b"https%253A%252F%252Fold.test",
            b"http%253A%252F%252Fnew.example%253A8080%252Fblog",
            id="percent twice",
        ),
        pytest.param(rb"line\nhttps://old.test", rb"line\n" + NEW, id="after an escaped newline"),
        pytest.param(rb"line\nold.test\t", rb"line\nnew.example:8080/blog\t", id="bare between escapes"),
        pytest.param(rb"\u0022old.test\u0022", rb"\u0022new.example:8080/blog\u0022", id="escaped quotes"),
        pytest.param(b"q=%22old.test%22", b"q=%22new.example:8080/blog%22", id="percent-encoded quotes"),
        pytest.param(b"old.test%2Fa", b"new.example%3A8080%2Fblog%2Fa", id="escape taken from behind"),
        pytest.param(rb"cache\/old.test", rb"cache\/new.example:8080\/blog", id="escape taken from before"),
        pytest.param(b"http%3A//old.test", b"http%3A//new.example:8080/blog", id="escapes mixed"),
        pytest.param(b"/var/www/old/x.php:12", b"/srv/new/x.php:12", id="path"),
        pytest.param(b"file:///var/www/old", b"file:///srv/new", id="path in a file: address"),
        pytest.param(rb"\/var\/www\/old\/x", rb"\/srv\/new\/x", id="path in JSON"),
        pytest.param(b"%2Fvar%2Fwww%2Fold", b"%2Fsrv%2Fnew", id="path percent-encoded"),
        pytest.param(
            b'<a href="https://old.test/a">old.test</a> <!-- wp:x {"u":"https:\\/\\/old.test"} -->',
            b'<a href="' + NEW + b'/a">new.example:8080/blog</a> '
            b'<!-- wp:x {"u":"http:\\/\\/new.example:8080\\/blog"} -->',
            id="each in its own escape",
        ),
    ],
)
def test_an_address_is_replaced_in_the_escape_it_is_written_in(text: bytes, expected: bytes) -> None:
    assert rewrite(text, TABLE).value == expected


def test_a_port_is_matched_whole() -> None:
    table = make_url_replacements("http://127.0.0.1:8081", "https://x.test", "", "")
    assert rewrite(b"http://127.0.0.1:80812 127.0.0.1:808 127.0.0.1:8081", table).value == (
        b"http://127.0.0.1:80812 127.0.0.1:808 x.test"
    )


def test_a_name_that_stands_for_much_else_is_replaced_only_in_full_addresses() -> None:
    for host in ("localhost", "127.0.0.1"):
        table = make_url_replacements(f"http://{host}", "https://x.test", "", "")
        text = f"visitor {host}, http://{host}/a, //{host}".encode()
        assert rewrite(text, table).value == f"visitor {host}, https://x.test/a, //x.test".encode()


def test_a_place_below_a_path_is_matched_whole() -> None:
    table = make_url_replacements("https://old.test/shop", "https://new.test", "", "")
    text = b"https://old.test/shop/a https://old.test/shopping https://old.test/shop-2 https://old.test/shop."
    assert rewrite(text, table).value == (
        b"https://new.test/a https://old.test/shopping https://old.test/shop-2 https://new.test."
    )


def test_schemes_stay_as_they_are_where_both_sites_have_the_same() -> None:
    table = make_url_replacements("https://old.test", "https://new.test", "", "")
    assert rewrite(b"http://old.test https://old.test", table).value == b"http://new.test https://new.test"


def test_a_name_outside_ascii_is_found_in_every_escape() -> None:
    table = make_url_replacements("https://bücher.test", "https://xn--bcher-kva.example", "", "")
    text = rb'{"a":"https:\/\/b\u00fccher.test\/","b":"https%3A%2F%2Fb%C3%BCcher.test"}'
    assert rewrite(text, table).value == (
        rb'{"a":"https:\/\/xn--bcher-kva.example\/","b":"https%3A%2F%2Fxn--bcher-kva.example"}'
    )


def test_a_double_hyphen_is_found_as_the_block_editor_writes_it() -> None:
    table = make_url_replacements("https://xn--bcher-kva.test", "https://new.test", "", "")
    assert rewrite(rb"https://xn\u002d\u002dbcher-kva.test/", table).value == b"https://new.test/"


def test_the_longest_old_text_wins_in_one_pass() -> None:
    table = [(b"a.test", b"b.test"), (b"a.test/shop", b"c.test"), (b"b.test", b"a.test")]
    assert rewrite(b"a.test a.test/shop b.test", table) == (b"b.test c.test a.test", 3, ())


@pytest.mark.parametrize(
    ("source", "target"),
    [
        pytest.param("https://shop.test", "https://shop.test/new", id="below itself"),
        pytest.param("http://shop.test", "https://shop.test/new", id="below itself, other scheme"),
        pytest.param("https://old.test", "https://www.old.test", id="longer host"),
        pytest.param("https://old.test", "https://staging.old.test", id="to staging"),
        pytest.param("https://staging.old.test", "https://old.test", id="from staging"),
        pytest.param("https://old.test", "https://old.test:8443", id="port added"),
        pytest.param("http://old.test", "https://old.test", id="scheme only"),
        pytest.param("https://old.test", "https://proxy.test/old.test", id="old name in the new path"),
    ],
)
def test_a_second_run_changes_nothing(source: str, target: str) -> None:
    rewriter = Rewriter(make_url_replacements(source, target, "/srv/site", "/srv/site/next"))
    place = source.partition("//")[2]
    text = f"{source} {source}/a //{place} {place}. {place}~ /srv/site/x /srv/site https%3A%2F%2F{place}%2Fa"
    first = rewriter.rewrite(text.encode() + f" https:\\/\\/{place}\\/a".encode())
    assert first.count >= 4
    assert rewriter.rewrite(first.value) == (first.value, 0, ())


def test_a_longer_word_than_the_settled_one_is_still_rewritten() -> None:
    table = make_url_replacements("https://shop.test", "https://shop.test/new", "", "")
    assert rewrite(b"https://shop.test/newsletter", table).value == b"https://shop.test/new/newsletter"


def test_lengths_are_counted_in_bytes_again_on_every_level() -> None:
    inner = 'a:1:{s:3:"ü";s:16:"https://old.test";}'.replace("s:3", "s:2").encode()
    outer = b's:%d:"%s";' % (len(inner), inner)
    new_inner = inner.replace(b's:16:"https://old.test"', b's:%d:"%s"' % (len(NEW), NEW))
    assert rewrite(outer, TABLE) == (b's:%d:"%s";' % (len(new_inner), new_inner), 1, ())


def test_serialized_data_in_json_in_serialized_data_is_rewritten() -> None:
    def wrap(address: bytes) -> bytes:
        core = b'a:1:{s:1:"u";s:%d:"%s";}' % (len(address), address)
        document = json.dumps({"x": core.decode(), "n": [1.50, None]}).replace("/", "\\/").encode()
        return b'O:3:"Foo":1:{s:6:"\0Foo\0a";s:%d:"%s";}' % (len(document), document)

    assert rewrite(wrap(b"https://old.test"), TABLE) == (wrap(NEW), 1, ())


def test_percent_encoded_serialized_data_is_counted_again() -> None:
    text = b"a%3A1%3A%7Bi%3A0%3Bs%3A16%3A%22https%3A%2F%2Fold.test%22%3B%7D"
    expected = b"a%3A1%3A%7Bi%3A0%3Bs%3A28%3A%22http%3A%2F%2Fnew.example%3A8080%2Fblog%22%3B%7D"
    assert rewrite(text, TABLE) == (expected, 1, ())


def test_percent_encoded_json_keeps_its_hex_digits_in_lower_case() -> None:
    text = b"%7b%22a%22%3a%22https%3a%5c%2f%5c%2fold.test%22%7d"
    expected = b"%7b%22a%22%3a%22http%3a%5c%2f%5c%2fnew.example%3a8080%5c%2fblog%22%7d"
    assert rewrite(text, TABLE) == (expected, 1, ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(b'["/a","old.test"]', b'["/a","new.example:8080/blog"]', id="bare elsewhere"),
        pytest.param(b'["\\/a","old.test"]', b'["\\/a","new.example:8080\\/blog"]', id="escaped elsewhere"),
        pytest.param(b'["old.test"]', b'["new.example:8080\\/blog"]', id="none: as PHP does it"),
    ],
)
def test_a_slash_that_is_new_to_a_json_string_is_written_as_the_others(text: bytes, expected: bytes) -> None:
    assert rewrite(text, TABLE).value == expected


def test_half_a_surrogate_pair_in_json_stays() -> None:
    text = rb'["\ud83d https:\/\/old.test \udc00"]'
    expected = rb'["\ud83d http:\/\/new.example:8080\/blog \udc00"]'
    assert rewrite(text, TABLE).value == expected


@pytest.mark.parametrize(
    "text",
    [b'["a"}', b'{"a":1]', b'["a"] b', b'{"a"}', b"[1,]", b"[01]", b'["a', b"{1:2}", b"[", b'"a" "b"', b"5"],
)
def test_what_is_not_json_as_a_whole_has_no_json_strings(text: bytes) -> None:
    assert find_literals(text) is None


def test_a_json_string_ends_at_its_own_quote() -> None:
    text = rb'["a\\", "b\"c", {"d\\\"": ""}]'
    assert [text[part.start : part.end] for part in find_literals(text) or ()] == [
        rb"a\\",
        rb"b\"c",
        rb"d\\\"",
        b"",
    ]


def test_json_keeps_its_spaces_numbers_and_escapes() -> None:
    text = b'{ "a" : 1.50e+3 ,\n"\\u00e9\\/":"https:\\/\\/old.test\\/\\u00e9", "https://old.test": [ ] }'
    expected = text.replace(rb"https:\/\/old.test", rb"http:\/\/new.example:8080\/blog")
    assert rewrite(text, TABLE).value == expected.replace(b"https://old.test", NEW)


def test_keys_are_rewritten_like_values() -> None:
    text = b'a:1:{s:16:"https://old.test";i:1;}'
    assert rewrite(text, TABLE).value == b'a:1:{s:28:"%s";i:1;}' % NEW


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'a:2:{s:16:"https://old.test";i:1;s:28:"%s";i:2;}' % NEW, id="array"),
        pytest.param(b'{"https:\\/\\/old.test":1,"%s":2}' % NEW, id="JSON"),
    ],
)
def test_a_value_in_which_two_keys_would_become_one_is_left_alone(text: bytes) -> None:
    assert rewrite(text, TABLE) == (text, 0, ("two keys of one array would become the same",))


def test_the_same_key_in_two_arrays_is_no_conflict() -> None:
    text = b'a:2:{i:0;a:1:{s:16:"https://old.test";i:1;}i:1;a:1:{s:28:"%s";i:2;}}' % NEW
    assert rewrite(text, TABLE).count == 1


def test_json_that_is_not_sound_is_plain_text() -> None:
    for text in (b'[caption url="https://old.test"]', b'{"u":"https://old.test', b'["https://old.test",]'):
        assert rewrite(text, TABLE) == (text.replace(b"https://old.test", NEW), 1, ())


def test_a_value_without_a_needle_is_the_same_object() -> None:
    value = b"a:1:{broken"
    assert rewrite(value, TABLE).value is value


@pytest.mark.parametrize(
    "table",
    [
        pytest.param([(b"", b"x")], id="nothing to look for"),
        pytest.param([(b"//", b"x")], id="no letter"),
        pytest.param([(b"a.test", b"b"), (b"a.test", b"c")], id="two targets"),
        pytest.param([(b"\xff.test", b"b")], id="not UTF-8"),
    ],
)
def test_a_table_that_cannot_be_applied_is_refused(table: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the kind is the contract, the words are not
        Rewriter(table)


@pytest.mark.parametrize("url", ["old.test", "ftp://old.test", "https://", "/var/www"])
def test_what_is_no_address_of_a_site_makes_no_table(url: str) -> None:
    with pytest.raises(ValueError, match="not the address of a site"):
        make_url_replacements(url, "https://x.test", "", "")


@pytest.mark.parametrize("root", ["/", "www/old"])
def test_a_root_that_is_not_below_the_top_makes_no_table(root: str) -> None:
    with pytest.raises(ValueError, match="not an absolute path"):
        make_url_replacements("https://a.test", "https://b.test", root, "/srv/b")
