from datetime import timedelta

import pytest

from schemas.document import DocumentInvalid, read_fleet_file
from schemas.fleet import Environment, Fleet, Node, Site
from schemas.state import OverwritePolicy, Preset
from tests.unit.schemas.documents import (
    ENVIRONMENT,
    ENVIRONMENT_PATH,
    FLEET,
    FLEET_PATH,
    NODE,
    NODE_PATH,
    PRODUCTION,
    PRODUCTION_PATH,
    SITE,
    SITE_PATH,
)


def read_environment(data: bytes) -> Environment:
    document = read_fleet_file(data, path=ENVIRONMENT_PATH)
    assert isinstance(document, Environment)
    return document


def read_fleet(data: bytes) -> Fleet:
    document = read_fleet_file(data, path=FLEET_PATH)
    assert isinstance(document, Fleet)
    return document


def test_an_environment_holds_what_its_file_says() -> None:
    spec = read_environment(ENVIRONMENT).spec
    assert spec.source == "production"
    assert spec.promotion_preset is Preset.COMMERCE_PROTECT
    assert spec.database.name == "acme_staging"
    assert spec.protect.tables == ("bookings", "booking_*")
    assert spec.health.stable_for == timedelta(seconds=5)
    assert spec.health_urls == ("https://staging.acme.example/", "https://staging.acme.example/shop/")


def test_a_short_production_has_the_defaults() -> None:
    document = read_fleet_file(PRODUCTION, path=PRODUCTION_PATH)
    assert isinstance(document, Environment)
    assert document.spec.is_production
    assert document.spec.source is None
    assert document.spec.promotion_preset is Preset.CONTENT_PROTECT
    assert document.spec.database.table_prefix == "wp_"
    assert document.spec.php.cli == "php"
    assert document.spec.health_urls == ("https://acme.example/",)


def test_the_fleet_s_policy_has_the_defaults_of_the_spec() -> None:
    spec = read_fleet(b"apiVersion: pressluft/v1\nkind: Fleet\nmetadata: {name: x}\nspec: {}\n").spec
    assert spec.backup_max_age == timedelta(hours=1)
    assert spec.drift_check_max_age == timedelta(minutes=15)
    assert spec.drift_check_interval is None
    assert spec.overwrite_policy is OverwritePolicy.BLOCK
    assert spec.promotions.enabled is True
    assert spec.retention == timedelta(days=30)
    assert spec.keep_old_release == timedelta(days=7)
    assert spec.unreachable_after == timedelta(hours=24)
    assert spec.allowed_signers is None
    assert (spec.timeouts.stage, spec.timeouts.cut_over) == (timedelta(hours=6), timedelta(minutes=30))


def test_the_fleet_s_policy_is_read() -> None:
    spec = read_fleet(FLEET).spec
    assert spec.backup_max_age == timedelta(hours=2)
    assert spec.drift_check_interval is None
    assert spec.promotions.enabled is False
    assert spec.freeze_windows[0].duration == timedelta(days=4)
    assert spec.freeze_windows[1].time_zone == "UTC"
    assert spec.timeouts.backup == timedelta(hours=12)


def test_a_node_over_ssh_is_not_local() -> None:
    node = read_fleet_file(NODE, path=NODE_PATH)
    assert isinstance(node, Node)
    assert (node.spec.is_local, node.spec.ssh_port, node.spec.user) == (False, 2222, "deploy")


@pytest.mark.parametrize(
    ("spec", "is_local", "port"),
    [
        ("{host: localhost}", True, 22),
        ("{host: localhost, port: 2022}", False, 2022),
        ("{host: web-1}", False, 22),
    ],
)
def test_localhost_without_a_port_is_this_machine(spec: str, is_local: bool, port: int) -> None:
    data = NODE[: NODE.index(b"spec:")] + f"spec: {spec}\n".encode()
    node = read_fleet_file(data, path=NODE_PATH)
    assert isinstance(node, Node)
    assert (node.spec.is_local, node.spec.ssh_port) == (is_local, port)


def test_a_site_is_read() -> None:
    site = read_fleet_file(SITE, path=SITE_PATH)
    assert isinstance(site, Site)
    assert site.spec.display_name == "Acme Shop"
    assert site.spec.promotions.enabled is True


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        pytest.param("  source: production\n", "", "spec.source", id="staging without source"),
        pytest.param("source: production", "source: staging", "spec", id="its own source"),
        pytest.param("type: staging", "type: production", "spec.source", id="production with source"),
        pytest.param("type: staging", "type: test", "spec.type", id="unknown type"),
        pytest.param("acme.example\n", "acme.example/\n", "spec.url", id="url with slash"),
        pytest.param("https://staging", "ftp://staging", "spec.url", id="url of ftp"),
        pytest.param("https://staging", "https://u:p@staging", "spec.url", id="url with password"),
        pytest.param("acme.example\n", "acme.example?x=1\n", "spec.url", id="url with query"),
        pytest.param("acme.example\n", "acme.example#x\n", "spec.url", id="url with fragment"),
        pytest.param("acme.example\n", "acme.example:99999\n", "spec.url", id="url with impossible port"),
        pytest.param("https://staging.acme.example", "https://[::1", "spec.url", id="broken url"),
        pytest.param("root: /srv/acme/staging", "root: /", "spec.root", id="root of the system"),
        pytest.param("root: /srv/acme/staging", "root: /srv/../etc", "spec.root", id="root with dots"),
        pytest.param("root: /srv/acme/staging", "root: /srv//acme", "spec.root", id="root with empty part"),
        pytest.param("root: /srv/acme/staging", "root: srv/acme", "spec.root", id="relative root"),
        pytest.param(
            "name: acme_staging", 'name: "a`b"', "spec.database.name", id="database name with quote"
        ),
        pytest.param("wp_}", "wp-}", "spec.database.table_prefix", id="prefix with dash"),
        pytest.param("wp_}", "'wp_;DROP'}", "spec.database.table_prefix", id="prefix with sql"),
        pytest.param("cli: php8.2", "cli: php -r", "spec.php.cli", id="php with an argument"),
        pytest.param("cli: php8.2", "cli: --version", "spec.php.cli", id="php as an option"),
        pytest.param("service: php8.2-fpm", "service: -x", "spec.php.fpm_service", id="unit as an option"),
        pytest.param("[bookings, booking_*]", "[book%]", "spec.protect.tables[0]", id="sql pattern"),
        pytest.param(
            "[wp-content/booking-files]", "[a, ../x]", "spec.protect.paths[1]", id="path out of the root"
        ),
        pytest.param("[wp-content/booking-files]", "[/etc]", "spec.protect.paths[0]", id="absolute path"),
        pytest.param("[/, /shop/]", "[https://other.example/]", "spec.health", id="health of another host"),
        pytest.param(
            "[/, /shop/]", "[https://staging.acme.example.evil/]", "spec.health", id="health of a longer host"
        ),
        pytest.param("[/, /shop/]", "[]", "spec.health.urls", id="no health url"),
        pytest.param("stable_for: 5s", "stable_for: 1h", "spec.health.stable_for", id="stable for an hour"),
        pytest.param("node: web-1", "node: Web_1", "spec.node", id="node with an upper-case name"),
        pytest.param("  id: 7d9f2b1c-0f3a-4c55-9d3e-2b6f3a1c8e10\n", "", "metadata.id", id="no id"),
        pytest.param("name: staging\n", "name: stage\n", "metadata.name", id="another name than the file's"),
    ],
)
def test_a_wrong_environment_is_refused_at_the_field(old: str, new: str, field: str) -> None:
    text = ENVIRONMENT.decode()
    assert old in text
    with pytest.raises(DocumentInvalid) as caught:
        read_environment(text.replace(old, new, 1).encode())
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("window", "field"),
    [
        ("{start: 2026-11-27T00:00:00Z, duration: 1d}", "start"),
        ("{start: 2026-11-31T00:00:00, duration: 1d}", "start"),
        ("{start: 2026-11-27, duration: 1d}", "start"),
        ("{start: 2026-11-27T00:00, duration: 0s}", "duration"),
        ("{start: 2026-11-27T00:00, duration: 367d}", "duration"),
        ("{start: 2026-11-27T00:00, duration: 1d, time_zone: Mars/Base}", "time_zone"),
        ("{start: 2026-11-27T00:00, duration: 1d, time_zone: ../../etc/passwd}", "time_zone"),
        ("{start: 2026-11-27T00:00, duration: 1d, rrule: weekly}", "rrule"),
        ("{start: 2026-11-27T00:00, duration: 1d, rrule: FREQ=SECONDLY}", "rrule"),
        ("{start: 2026-11-27T00:00, duration: 1d, rrule: FREQ=DAILY;INTERVAL=0}", "rrule"),
        ("{start: 2026-11-27T00:00, duration: 1d, rrule: FREQ=DAILY;BYSECOND=1}", "rrule"),
        ("{start: 2026-11-27T00:00, duration: 1d, rrule: FREQ=WEEKLY;BYDAY=XX}", "rrule"),
        ("{start: 2026-11-27T00:00, duration: 1d, rrule: FREQ=DAILY;UNTIL=20270101T000000Z}", "rrule"),
        ("{start: 2026-11-27T00:00, duration: 1d, rrule: FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30}", "rrule"),
        ("{start: 2026-11-27T00:00, duration: 1d, rrule: FREQ=DAILY;FREQ=DAILY}", "rrule"),
    ],
)
def test_a_wrong_freeze_window_is_refused_at_the_field(window: str, field: str) -> None:
    data = (
        f"apiVersion: pressluft/v1\nkind: Fleet\nmetadata: {{name: x}}\nspec:\n  freeze_windows: [{window}]\n"
    )
    with pytest.raises(DocumentInvalid) as caught:
        read_fleet(data.encode())
    assert caught.value.field == f"spec.freeze_windows[0].{field}"


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=WEEKLY;BYDAY=FR",
        "FREQ=MONTHLY;BYDAY=-1FR;COUNT=10",
        "FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=20",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
        "FREQ=DAILY;INTERVAL=14;UNTIL=20301231T235959",
    ],
)
def test_a_rule_is_taken(rule: str) -> None:
    window = f"{{start: 2026-11-27T08:00, duration: PT10H, rrule: {rule}}}"
    data = (
        f"apiVersion: pressluft/v1\nkind: Fleet\nmetadata: {{name: x}}\nspec:\n  freeze_windows: [{window}]\n"
    )
    assert read_fleet(data.encode()).spec.freeze_windows[0].rrule == rule
