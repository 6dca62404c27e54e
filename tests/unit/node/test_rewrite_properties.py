"""What holds for any bytes at all."""

from __future__ import annotations

from ansible_collections.pressluft.wordpress.plugins.module_utils.rewrite import (
    Rewriter,
    make_url_replacements,
)
from hypothesis import given
from hypothesis import strategies as st

_REWRITERS = [
    Rewriter(make_url_replacements(source, target, "/srv/old", "/srv/old/next"))
    for source, target in (
        ("https://old.test", "https://new.example"),
        ("https://old.test", "http://old.test/new"),
        ("https://old.test", "https://www.old.test:8443"),
        ("http://old.test:81", "https://old.test"),
    )
]

# Pieces from which a value that is nearly an address, nearly serialized or nearly JSON soon comes up.
_PIECES = st.sampled_from(
    rb"""old.test https:// http: // \/ \\\/ %2F %3A %252f :81 : /new ~ /srv/old /next www. - . @ a:1:{ "; s:8:"
    s:16:" i:0; } { [ ] " , \ \u002d \n C:1:"A":8:{ O:1:"A":1:{ S:9:" \41 %22""".split()
)
_VALUES = st.lists(
    st.one_of(st.just(b"old.test"), st.just(b"https://old.test"), _PIECES, _PIECES, st.binary(max_size=3)),
    max_size=12,
).map(b"".join)


def _serialize(strings: list[bytes]) -> bytes:
    items = b"".join(b'i:%d;s:%d:"%s";' % (at, len(text), text) for at, text in enumerate(strings))
    return b"a:%d:{%s}" % (len(strings), items)


@given(st.sampled_from(_REWRITERS), _VALUES)
def test_a_second_run_changes_nothing_in_any_bytes(rewriter: Rewriter, value: bytes) -> None:
    once = rewriter.rewrite(value)
    again = rewriter.rewrite(once.value)
    assert again.value == once.value
    assert again.count == 0


@given(st.sampled_from(_REWRITERS), st.lists(_VALUES, max_size=4))
def test_sound_serialized_data_stays_sound_and_holds_the_same_strings_rewritten(
    rewriter: Rewriter, strings: list[bytes]
) -> None:
    expected = _serialize([rewriter.rewrite(text).value for text in strings])
    assert rewriter.rewrite(_serialize(strings)).value == expected


@given(st.sampled_from(_REWRITERS), st.binary())
def test_bytes_without_a_name_from_the_table_come_back_untouched(rewriter: Rewriter, value: bytes) -> None:
    if not any(core in value for core in rewriter.cores):
        assert rewriter.rewrite(value) == (value, 0, ())


@given(st.sampled_from(_REWRITERS), _VALUES)
def test_the_count_tells_whether_the_value_changed(rewriter: Rewriter, value: bytes) -> None:
    result = rewriter.rewrite(value)
    assert (result.count > 0) == (result.value != value)
