"""What makes an option row another one."""

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.option_row import OptionRow, digest_option

ROW = OptionRow("blogname", b"Shop", "yes")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(ROW._replace(value=b"shop"), id="case"),
        pytest.param(ROW._replace(value=b"Shop "), id="trailing-space"),
        pytest.param(ROW._replace(value=b""), id="empty"),
        pytest.param(ROW._replace(value=None), id="null"),
        pytest.param(ROW._replace(value=b"NULL"), id="word-null"),
        pytest.param(ROW._replace(autoload="no"), id="autoload"),
    ],
)
def test_another_value_or_autoload_has_another_digest(other: OptionRow) -> None:
    assert digest_option(other) != digest_option(ROW)


def test_the_name_is_no_part_of_the_digest() -> None:
    assert digest_option(ROW._replace(name="other")) == digest_option(ROW)
