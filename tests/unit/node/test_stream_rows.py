"""Rows of another node: only plain literals are let in."""

from __future__ import annotations

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_rows import check_literal


@pytest.mark.parametrize(
    "literal",
    [
        "(NULL)",
        "('1',x'C3A4',NULL,'-0')",
        "('2026-01-02 03:04:05.000001','-838:59:59',3,@pressluft_0)",
        "('1e300','::ffff:10.0.0.1','123e4567-e89b-12d3-a456-426655440000',x'')",
    ],
)
def test_a_literal_that_the_server_printed_is_let_in(literal: str) -> None:
    assert check_literal(literal, "posts") == literal.encode()


@pytest.mark.parametrize(
    "literal",
    [
        "(SELECT user_pass FROM wp_users LIMIT 1)",
        "('1',(SELECT 1))",
        "('1'), ('2')",
        "('it\\'s')",
        "('a''b')",
        "('1') ON DUPLICATE KEY UPDATE id = 2",
        "(x'C3A4'); DROP TABLE wp_posts",
        "(@@version)",
        "()",
        "('1'",
        "",
    ],
)
def test_anything_else_is_refused_by_the_tables_name(literal: str) -> None:
    with pytest.raises(NodeError, match="posts"):
        check_literal(literal, "posts")
