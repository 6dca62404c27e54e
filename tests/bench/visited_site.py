"""A site that shows its release in every page, visitors who load it, and what they met."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.stack.site import Site
from tests.bench.visitors import PASSWORD, Answer

USERS = 20
_FOOTER = """<b>bench:code=<?php
global $wpdb;
echo BENCH_RELEASE, ':file={number}:option=', get_option( 'bench_release' ), ':table=';
echo $wpdb->get_var( "SELECT number FROM {$wpdb->prefix}bench_release" );
?></b>
"""
_END = "<?php wp_footer(); ?>\n</body>\n</html>\n"


@dataclass
class Visit:
    """A time of visits: when it began and ended and what was answered, as far as it is over."""

    rate: float
    answers: list[Answer] = field(default_factory=list)

    @property
    def failed(self) -> list[Answer]:
        """Requests that got no answer, or not the one that was wanted."""
        return [answer for answer in self.answers if answer.problem]

    @property
    def mixed(self) -> list[Answer]:
        """Pages that show two releases."""
        return [answer for answer in self.answers if answer.is_mixed]

    @property
    def comments(self) -> list[str]:
        """The texts of the comments that the site took."""
        return [answer.text for answer in self.answers if answer.text]

    def find_longest(self, *, since: float = 0.0, until: float = float("inf")) -> float:
        """The longest wait of those who waited at some time between the two moments, in seconds."""
        return max(
            (found.seconds for found in self.answers if found.ended >= since and found.due <= until),
            default=0.0,
        )


def show_release(site: Site, number: int) -> None:
    """Change code, an option row and a table of what is served, so that every page shows each."""
    show_code(site.current, number)
    show_data(site, number)


def show_code(release: Path, number: int) -> None:
    """Change one file that is loaded early and one that is loaded late."""
    theme = release / "wp-content/themes/pressluft-demo"
    code, footer = theme / "functions.php", theme / "footer.php"
    lines = [line for line in code.read_text().splitlines() if "BENCH_RELEASE" not in line]
    replace_file(code, "\n".join([*lines, f"const BENCH_RELEASE = '{number}';", ""]))
    head = footer.read_text().partition("<b>bench:")[0].partition("<?php wp_footer(); ?>")[0]
    replace_file(footer, head + _FOOTER.replace("{number}", str(number)) + _END)


def show_data(site: Site, number: int) -> None:
    """Change an option row that is loaded early and a table that is read late."""
    option = (
        "REPLACE INTO {p}options (option_name, option_value, autoload) VALUES ('bench_release', %s, 'yes')"
    )
    site.query(option, str(number))
    site.query("CREATE TABLE IF NOT EXISTS {p}bench_release (number INT PRIMARY KEY) ENGINE=InnoDB")
    site.query("REPLACE INTO {p}bench_release VALUES (%s)", number)
    site.query("DELETE FROM {p}bench_release WHERE number <> %s", number)


def replace_file(path: Path, text: str) -> None:
    """Write a file in one step, as a deployment does: nobody reads half of it."""
    fresh = path.with_name(f".{path.name}.fresh")
    fresh.write_text(text)
    fresh.chmod(path.stat().st_mode)
    fresh.replace(path)


def register_visitors(site: Site) -> None:
    """Give the site users who can log in."""
    site.wp(
        "eval",
        f"for ( $n = 0; $n < {USERS}; $n++ )"
        f" wp_insert_user( ['user_login' => \"visitor$n\", 'user_pass' => '{PASSWORD}',"
        f" 'user_email' => \"visitor$n@example.test\", 'role' => 'subscriber'] );",
    )


def find_posts(site: Site) -> str:
    """Published posts; comments are written on the first."""
    sql = "SELECT ID FROM {p}posts WHERE post_type = 'post' AND post_status = 'publish' ORDER BY ID LIMIT 6"
    return ",".join(str(post) for (post,) in site.query(sql))


def make_command(site: Site, answers: Path, *words: str) -> list[str]:
    """The words that start visitors."""
    program = [sys.executable, "-m", "tests.bench.visitors", site.url, "--posts", find_posts(site)]
    return [*program, "--users", str(USERS), "--tag", answers.stem, "--answers", str(answers), *words]


def measure_capacity(site: Site, folder: Path, *, seconds: float) -> float:
    """Return how many requests a second the site answers when eight visitors wait for nothing."""
    command = make_command(site, folder / "capacity.jsonl", "--threads", "8", "--seconds", str(seconds))
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return float(found["visits"] / found["seconds"])


@contextmanager
def visited(site: Site, answers: Path, *, rate: float) -> Iterator[Visit]:
    """Let visitors come, `rate` a second in all; what they met is known when they are gone."""
    visit = Visit(rate)
    command = make_command(site, answers, "--rate", str(rate))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as visitors:
        try:
            yield visit
        finally:
            visitors.terminate()
    visit.answers += read_answers(answers)


def read_answers(path: Path) -> Sequence[Answer]:
    """Read what visitors noted."""
    found = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return [Answer(**{**answer, "marker": tuple(answer["marker"])}) for answer in found]


def find_lost(site: Site, visit: Visit) -> int:
    """How many comments that the site took are not in its database."""
    kept = {str(text) for (text,) in site.query("SELECT comment_content FROM {p}comments")}
    return sum(text not in kept for text in visit.comments)


def say(text: str) -> None:
    """Print a line of the report."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def describe_load() -> str:
    """The machine's load average of the last minute, to be told beside a number."""
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
