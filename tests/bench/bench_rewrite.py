"""Our rewriting beside `wp search-replace --precise`, on the same values in a WordPress database; PHP is the judge.

Run by `make bench`. PRESSLUFT_BENCH_VALUES (50,000). Only values of valid UTF-8 take part: a LONGTEXT holds no others,
and WP-CLI does not look at columns of bytes.
"""

import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.rewrite import (
    Rewriter,
    make_url_replacements,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.row_rewrite import rewrite_table

from reconciler.stack.site import Site
from tests.servers import Pair
from tests.unit.node.php_oracle import PhpOracle, Written
from tests.unit.node.php_values import ValueMaker
from tests.unit.node.test_rewrite_oracle import make_addresses

VALUES = int(os.environ.get("PRESSLUFT_BENCH_VALUES", "50000"))
BATCH = 100
MOVE = ("https://old.test", "http://new.example:8080/blog", "/var/www/old", "/srv/sites/new/html")
PLACES = (b"old.test", b"/var/www/old")

OBJECTS = re.compile(rb"(?:^|[;{\"])[OCErR]:[0-9]")
"""Objects, enums and references, at any depth. WP-CLI, like our judge, does not know the classes."""

FULL = (
    ("https://old.test", "http://new.example:8080/blog"),
    ("http://old.test", "http://new.example:8080/blog"),
    ("//old.test", "//new.example:8080/blog"),
    ("/var/www/old", "/srv/sites/new/html"),
)
"""What the manuals tell to run, one after the other."""
ESCAPED = tuple((old.replace("/", "\\/"), new.replace("/", "\\/")) for old, new in FULL)
THOROUGH = (*FULL, *ESCAPED, ("old.test", "new.example:8080/blog"))
"""With JSON's slashes and the host alone, as somebody does who looks for what is left."""


@dataclass(frozen=True)
class Result:
    """What one way made of all values, and of those that hold nothing but arrays and scalars, by verdict; and the
    seconds it took."""

    counts: Mapping[str, int]
    simple: Mapping[str, int]
    seconds: float


@pytest.fixture
def site(wordpress_pair: Callable[..., Pair]) -> Site:
    return wordpress_pair().production


def test_rewriters(site: Site) -> None:
    written = write_values()
    changing = sum(case.before != case.after for case in written)
    sys.stdout.write(
        f"\n{len(written)} values, {changing} with an address to rewrite; load {os.getloadavg()[0]:.1f}\n"
    )
    ways: dict[str, Callable[[str], None]] = {
        "Pressluft": lambda table: rewrite(site, table),
        f"wp search-replace --precise, {len(FULL)} runs": lambda table: search_replace(site, table, FULL),
        f"the same, {len(THOROUGH)} runs": lambda table: search_replace(site, table, THOROUGH),
    }
    results = {name: run(site, written, way) for name, way in ways.items()}
    print_results(results)
    assert set(results["Pressluft"].counts) <= {"as PHP writes it", "the same in meaning"}


def write_values() -> list[Written]:
    """As many values as were asked for, the same in each run."""
    maker, found = ValueMaker(seed=1), list[Written]()
    addresses = make_addresses(*MOVE)
    with PhpOracle("writer") as writer:
        while len(found) < VALUES:
            made = writer.write([{"addresses": addresses, "value": maker.make()} for _ in range(BATCH)])
            found += [case for case in made if is_text(case.before)]
    return found[:VALUES]


def is_text(value: bytes) -> bool:
    """Whether a LONGTEXT can hold it."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def run(site: Site, written: Sequence[Written], way: Callable[[str], None]) -> Result:
    """Load the values into a table of the site's, let it be rewritten, and have the outcome judged."""
    table = f"{site.table_prefix}bench_values"
    with site.stack.mariadb.connect(site.database_name) as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {table}")
        cursor.execute(
            f"CREATE TABLE {table} (id INT PRIMARY KEY, value LONGTEXT) CHARSET utf8mb4 ENGINE=InnoDB"
        )
        for start in range(0, len(written), BATCH):
            rows = [(start + at, case.before) for at, case in enumerate(written[start : start + BATCH])]
            cursor.executemany(f"INSERT INTO {table} VALUES (%s, _utf8mb4 %s)", rows)
        began = time.perf_counter()
        way(table)
        seconds = time.perf_counter() - began
        cursor.execute(f"SELECT CAST(value AS BINARY) FROM {table} ORDER BY id")
        answers = [bytes(value) for (value,) in cursor.fetchall()]
    verdicts = list(judge_all(answers, written))
    simple = [found for found, case in zip(verdicts, written, strict=True) if not OBJECTS.search(case.before)]
    return Result(Counter(verdicts), Counter(simple), seconds)


def rewrite(site: Site, table: str) -> None:
    """As staging does."""
    rewriter = Rewriter(make_url_replacements(*MOVE))
    with closing(connect(str(site.stack.mariadb.client_file))) as conn:
        rewrite_table(conn, site.database_name, table, rewriter, needles=rewriter.cores)


def search_replace(site: Site, table: str, pairs: Sequence[tuple[str, str]]) -> None:
    """As people do by hand."""
    for old, new in pairs:
        site.wp("search-replace", old, new, table, "--precise", "--all-tables-with-prefix", timeout=7200)


def judge_all(answers: Sequence[bytes], written: Sequence[Written]) -> Iterator[str]:
    """What became of each value."""
    with PhpOracle("judge") as judge:
        for start in range(0, len(answers), BATCH):
            cases = list(zip(answers[start : start + BATCH], written[start : start + BATCH], strict=True))
            verdicts = judge.judge([(answer, case.after) for answer, case in cases])
            for (answer, case), verdict in zip(cases, verdicts, strict=True):
                yield classify(verdict, answer, case)


def classify(verdict: str, answer: bytes, case: Written) -> str:
    """Name what PHP says, and of what is different, on which side the error lies."""
    if verdict in {"exact", "equal"}:
        return "as PHP writes it" if verdict == "exact" else "the same in meaning"
    if verdict == "unreadable":
        return "corrupted: PHP cannot read it any more"
    if answer == case.before:
        return "missed: left as it was"
    left, wanted = (sum(value.count(place) for place in PLACES) for value in (answer, case.after))
    if left > wanted:
        return "missed: some addresses are still the old ones"
    return "wrong: changed what is no address of the site's, or within what must stay"


def print_results(results: Mapping[str, Result]) -> None:
    """Print them side by side: of all values, and of the simple ones."""
    names = list(dict.fromkeys(name for result in results.values() for name in sorted(result.counts)))
    for way, result in results.items():
        total, simple = result.counts, result.simple
        sys.stdout.write(f"  {way}: {result.seconds:.1f} s\n")
        sys.stdout.write(
            f"    {sum(total.values()):>7} {sum(simple.values()):>7}  values; of arrays and scalars alone\n"
        )
        for name in names:
            sys.stdout.write(f"    {total.get(name, 0):>7} {simple.get(name, 0):>7}  {name}\n")
