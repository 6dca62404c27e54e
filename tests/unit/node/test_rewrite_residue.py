"""Why the source's host is still in a value."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.rewrite_residue import ResidueFinder


@pytest.mark.parametrize(
    ("value", "reasons"),
    [
        pytest.param(b"https://new.example/", (), id="nothing left"),
        pytest.param(b"write to info@old.test", ("e-mail address",), id="e-mail"),
        pytest.param(b"https://www.old.test/", ("part of another name",), id="subdomain"),
        pytest.param(b"https://old.testing.com/", ("part of another name",), id="longer name"),
        pytest.param(b"http://old.test:8080/", ("another port",), id="port"),
        pytest.param(b"Old.Test", ("other letter case",), id="case"),
        pytest.param(b'a:1:{s:99:"https://old.test"', ("left as it was",), id="malformed"),
        pytest.param(b"Old.Test old.test", ("left as it was", "other letter case"), id="two reasons"),
    ],
)
def test_each_occurrence_has_its_reason(value: bytes, reasons: tuple[str, ...]) -> None:
    assert ResidueFinder(b"old.test").find(value) == reasons


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc"])
def test_base64_is_seen_through_at_every_shift(before: bytes) -> None:
    value = base64.b64encode(before + b"https://old.test/page")
    assert ResidueFinder(b"old.test").find(value) == ("base64",)


def test_base64_of_something_else_is_no_residue() -> None:
    assert ResidueFinder(b"old.test").find(base64.b64encode(b"https://new.example/page" * 50)) == ()
