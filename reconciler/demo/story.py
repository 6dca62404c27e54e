"""The story of `pressluft demo`, scene by scene, on real servers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import httpx

from reconciler.demo.evidence import count_traces, take_evidence
from reconciler.demo.narrator import Narrator
from reconciler.stack.site import Site

SETTINGS = "pressluft_demo_shop_settings"
BROKEN = "<?php\n// A theme that worked on the developer's machine.\nthis_function_does_not_exist();\n"


@dataclass
class Demo:
    """The two sites, the fleet repo and the facade that the story is about."""

    narrator: Narrator
    production: Site
    staging: Site
    fleet: Path
    api_url: str
    password: str

    def tell(self) -> None:
        """Tell the whole story. Raises `DemoFailed` where it does not go as told."""
        self.copy_production()
        self.work_on_both_sides()
        self.refuse_without_backup()
        self.promote()
        self.refuse_after_a_comment()
        self.refresh_and_promote()
        self.roll_back_a_broken_theme()
        self.refuse_over_rest()
        self.read_the_log()

    def copy_production(self) -> None:
        """A full refresh makes staging a fresh copy and takes the baseline."""
        self.narrator.scene("Staging becomes a fresh copy of production (its baseline)")
        self.narrator.run("pressluft", "refresh", "acme/staging", "--scope", "full", "--wait")
        page = self.staging.fetch("/")
        self.narrator.expect(truth=page.status == 200, told=f"{self.staging.url} answers 200")
        self.narrator.expect(
            truth=self.production.url not in page.body,
            told="staging's front page names no address of production",
        )

    def work_on_both_sides(self) -> None:
        """Staging gets what is to be promoted; production changes something of its own."""
        self.narrator.scene(
            "People work: on staging a theme, a plugin's settings, a table; on production an option"
        )
        self.set_theme_version("2.0.0")
        self.staging.query(
            "UPDATE {p}options SET option_value = %s WHERE option_name = %s",
            make_settings(self.staging.url),
            SETTINGS,
        )
        self.staging.query(
            "CREATE TABLE {p}demo_shop_coupons (id INT PRIMARY KEY, url VARCHAR(200)) ENGINE=InnoDB"
        )
        self.staging.query(
            "INSERT INTO {p}demo_shop_coupons VALUES (1, %s)", f"{self.staging.url}/coupon/spring"
        )
        self.production.query(
            "UPDATE {p}options SET option_value = 'Now with free shipping' WHERE option_name = 'blogdescription'"
        )
        self.narrator.say(
            "staging: theme 2.0.0, the shop's banner, a table of coupons; production: its tagline"
        )
        self.show_production()

    def refuse_without_backup(self) -> None:
        """No backup, no promotion."""
        self.narrator.scene("A promotion without a backup is refused")
        output = self.narrator.run(
            "pressluft", "promote", "acme/staging", "--reason", "Spring theme", "--wait", expect=1
        )
        self.narrator.expect(truth="BACKUP_GATE_UNMET" in output, told="refused: BACKUP_GATE_UNMET")

    def promote(self) -> None:
        """With a backup it goes up, and production keeps what is its own."""
        self.narrator.scene("With a fresh backup the promotion succeeds")
        before = take_evidence(self.production)
        self.narrator.run("pressluft", "backup", "acme/production", "--wait")
        self.narrator.run("pressluft", "promote", "acme/staging", "--reason", "Spring theme", "--wait")
        self.show_production()
        page = self.production.fetch("/").body
        self.narrator.expect(truth=">2.0.0<" in page, told="production shows theme 2.0.0")
        self.narrator.expect(truth="Spring sale" in page, told="and the shop's new banner")
        self.check_untouched(before)

    def check_untouched(self, before: object) -> None:
        """Compare protected data and look for traces of staging, by plain means."""
        after = take_evidence(self.production)
        self.narrator.expect(
            truth=after == before, told="every protected table and upload is byte for byte as before"
        )
        (tagline,) = self.production.query(
            "SELECT option_value FROM {p}options WHERE option_name = 'blogdescription'"
        )
        self.narrator.expect(
            truth=tagline == ("Now with free shipping",), told="production kept its own tagline"
        )
        host = self.staging.url.removeprefix("http://")
        self.narrator.expect(
            truth=count_traces(self.production, host) == 0,
            told=f"{host} occurs nowhere in production's tables",
        )

    def refuse_after_a_comment(self) -> None:
        """A visitor's comment is drift."""
        self.narrator.scene("A visitor comments on production: the next promotion is refused")
        self.set_theme_version("2.1.0")
        (post,) = self.production.query(
            "SELECT MIN(ID) FROM {p}posts WHERE post_status = 'publish' AND post_type = 'post'"
        )
        self.production.post_comment(int(str(post[0])), "I love the new theme!")
        self.narrator.run("pressluft", "backup", "acme/production", "--wait")
        output = self.narrator.run("pressluft", "promote", "acme/staging", "--wait", expect=1)
        self.narrator.expect(truth="DRIFT_GATE_UNMET" in output, told="refused: DRIFT_GATE_UNMET")
        self.narrator.run("pressluft", "drift", "acme/staging")

    def refresh_and_promote(self) -> None:
        """The way out of drift is a refresh, not an override."""
        self.narrator.scene("A refresh brings the comment down to staging; then the promotion succeeds")
        before = take_evidence(self.production)
        self.narrator.run("pressluft", "refresh", "acme/staging", "--wait")
        self.narrator.run("pressluft", "backup", "acme/production", "--wait")
        self.narrator.run("pressluft", "promote", "acme/staging", "--reason", "Theme 2.1", "--wait")
        self.show_production()
        self.narrator.expect(
            truth=">2.1.0<" in self.production.fetch("/").body, told="production shows theme 2.1.0"
        )
        self.check_untouched(before)

    def roll_back_a_broken_theme(self) -> None:
        """What is not healthy does not stay."""
        self.narrator.scene("A broken theme is promoted: health fails and it is rolled back by itself")
        before = take_evidence(self.production)
        functions = self.staging.current / "wp-content" / "themes" / "pressluft-demo" / "functions.php"
        functions.write_text(BROKEN)
        self.narrator.run("pressluft", "backup", "acme/production", "--wait")
        output = self.narrator.run(
            "pressluft", "promote", "acme/staging", "--reason", "Oops", "--wait", expect=1
        )
        self.narrator.expect(truth="HEALTH_CHECK_FAILED" in output, told="failed: HEALTH_CHECK_FAILED")
        page = self.production.fetch("/")
        self.narrator.expect(
            truth=page.status == 200 and ">2.1.0<" in page.body,
            told="production answers 200 with theme 2.1.0",
        )
        self.check_untouched(before)

    def refuse_over_rest(self) -> None:
        """A program gets the same answer as a person."""
        self.narrator.scene("The same promotion over REST is refused with its reasons")
        with httpx.Client(base_url=self.api_url, timeout=30) as client:
            client.post("/api/login", json={"password": self.password}).raise_for_status()
            ids = {env["name"]: env["id"] for site in client.get("/api/sites").json()
                   for env in client.get(f"/api/sites/{site['id']}/environments").json()}  # fmt: skip
            path = f"/api/environments/{ids['staging']}/promote"
            body = {"target_environment_id": ids["production"]}
            self.narrator.say(f"POST {path}")
            answer = client.post(path, json=body)
        self.narrator.say(f"{answer.status_code} {answer.text}")
        self.narrator.expect(truth=answer.status_code == 409, told="409 with every reason")

    def read_the_log(self) -> None:
        """Everybody reads the same history."""
        self.narrator.scene("What a status reader sees")
        self.narrator.run("pressluft", "status")
        self.narrator.run("git", "-C", str(self.fleet), "log", "--reverse", "--format=%h %<(20,trunc)%an %s")
        self.narrator.run("git", "-C", str(self.fleet), "fsck", "--strict", "--no-progress")

    def set_theme_version(self, version: str) -> None:
        """Edit one file of staging's theme, as a developer would."""
        style = self.staging.current / "wp-content" / "themes" / "pressluft-demo" / "style.css"
        style.write_text(re.sub(r"(?m)^(\W*Version:\s*).*$", rf"\g<1>{version}", style.read_text()))

    def show_production(self) -> None:
        """Show what production answers."""
        page = self.production.fetch("/")
        version = re.search(r'id="theme-version">([^<]*)<', page.body)
        banner = re.search(r'id="demo-shop"><a[^>]*>([^<]*)<', page.body)
        self.narrator.say(
            f"GET {self.production.url}/ -> {page.status}, theme {version[1] if version else '?'}, "
            f"banner {banner[1] if banner else '?'!r}"
        )


def make_settings(url: str) -> str:
    """Make the shop's serialized settings as its plugin would store them on staging."""
    pairs = {"banner": "Spring sale", "checkout_url": f"{url}/checkout"}
    items = "".join(f's:{len(name)}:"{name}";s:{len(value)}:"{value}";' for name, value in pairs.items())
    return f"a:{len(pairs)}:{{{items}}}"
