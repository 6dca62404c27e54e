"""Visitors who never stop: pages, comments, logins, the REST API. A program of its own, so that nothing delays it.

    python -m tests.bench.visitors URL --posts 4,5 --users 20 --rate 5 --answers answers.jsonl

With `--rate` they come by the clock, however long the site takes (an open loop), until SIGTERM or `--seconds`; what
they wait counts from when they were due. Without it each waits for nothing but the last answer (a closed loop).
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import IO
from urllib.parse import urlencode, urlsplit

MARKER = re.compile(r"bench:code=(\d*):file=(\d*):option=(\d*):table=(\d*)")
PASSWORD = "visitors-9f3c"
KINDS = ("page", "post", "rest", "page", "comment", "page", "rest", "post", "login", "page")
TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """One request: due and ended (s since the epoch), how it failed (empty: it did not), the marker it showed.

    `text` is that of a comment that the site took.
    """

    kind: str
    due: float
    ended: float
    problem: str
    marker: tuple[str, ...] = ()
    text: str = ""

    @property
    def seconds(self) -> float:
        """How long the visitor waited."""
        return self.ended - self.due

    @property
    def is_mixed(self) -> bool:
        """Whether the page shows code, options and tables that are not all of one release."""
        return len(set(self.marker)) > 1


@dataclass(frozen=True)
class Reply:
    """What the site answered."""

    status: int
    headers: Mapping[str, str]
    body: str


@dataclass
class Visitors:
    """Asks one site; each `visit` is one request of the next kind, checked by its content."""

    url: str
    posts: tuple[int, ...]
    users: int
    tag: str
    answers: IO[str]
    numbers: count[int] = field(default_factory=count)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def visit(self, due: float) -> None:
        """Ask once and note what came."""
        number = next(self.numbers)
        kind = KINDS[number % len(KINDS)]
        try:
            answer = getattr(self, f"ask_for_{kind}")(number)
        except (OSError, http.client.HTTPException, ValueError) as error:
            answer = {"problem": f"{type(error).__name__}: {error}"}
        noted = Answer(kind=kind, due=due, ended=time.time(), **answer)
        with self.lock:
            self.answers.write(json.dumps(asdict(noted)) + "\n")

    def ask_for_page(self, number: int) -> dict[str, object]:
        """Read the front page."""
        return check_page(self.fetch(f"/?visit={self.tag}{number}"))

    def ask_for_post(self, number: int) -> dict[str, object]:
        """Read a post that nobody writes comments on."""
        return check_page(self.fetch(f"/?p={self.posts[1:][number % (len(self.posts) - 1)]}"))

    def ask_for_rest(self, number: int) -> dict[str, object]:
        """Ask the REST API for posts."""
        reply = self.fetch(f"/?rest_route=/wp/v2/posts&per_page=3&visit={number}")
        if reply.status != 200 or len(json.loads(reply.body)) != 3:
            return {"problem": f"{reply.status}: {reply.body[:200]}"}
        return {"problem": ""}

    def ask_for_login(self, number: int) -> dict[str, object]:
        """Log in, which must work."""
        form = {"log": f"visitor{number % self.users}", "pwd": PASSWORD, "testcookie": "1"}
        reply = self.fetch("/wp-login.php", form=form, cookie="wordpress_test_cookie=WP%20Cookie%20check")
        is_in = reply.status == 302 and "wordpress_logged_in_" in reply.headers.get("set-cookie", "")
        return {"problem": "" if is_in else f"{reply.status}: not logged in: {find_text(reply.body)}"}

    def ask_for_comment(self, number: int) -> dict[str, object]:
        """Write a comment; the site's redirect says that it took it."""
        text = f"comment {self.tag} {number}"
        form = {"comment_post_ID": str(self.posts[0]), "comment": text, "author": "A visitor", "url": ""}
        reply = self.fetch("/wp-comments-post.php", form={**form, "email": "visitor@example.test"})
        is_taken = reply.status == 302
        return {
            "problem": "" if is_taken else f"{reply.status}: {find_text(reply.body)}",
            "text": text if is_taken else "",
        }

    def fetch(self, path: str, *, form: Mapping[str, str] | None = None, cookie: str = "") -> Reply:
        """One request on a connection of its own; redirects are answers."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=TIMEOUT_SECONDS)
        headers = {"Cookie": cookie} if cookie else {}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            body = urlencode(form) if form is not None else None
            connection.request("POST" if form is not None else "GET", path, body=body, headers=headers)
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
            return Reply(response.status, collect_headers(response), text)
        finally:
            connection.close()


def collect_headers(response: http.client.HTTPResponse) -> Mapping[str, str]:
    """All headers in lower case, repeated ones joined."""
    found: dict[str, str] = {}
    for name, value in response.getheaders():
        found[name.lower()] = f"{found.get(name.lower(), '')}; {value}"
    return found


def check_page(reply: Reply) -> dict[str, object]:
    """A page is whole if it is a 200 with the markers of a release and its end."""
    marker = MARKER.search(reply.body)
    if reply.status != 200 or marker is None or "</html>" not in reply.body:
        return {"problem": f"{reply.status}: {find_text(reply.body)}"}
    return {"problem": "", "marker": marker.groups()}


def find_text(page: str) -> str:
    """The beginning of what a page says, without its markup."""
    return re.sub(r"\s+", " ", re.sub(r"(?s)<(style|script|head).*?</\1>|<[^>]*>", " ", page)).strip()[:200]


def come(visitors: Visitors, *, threads: int, rate: float | None, seconds: float) -> int:
    """Visit from many threads until told to stop; returns how many visits there were."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    began = time.time()
    done = [0] * threads

    def work(place: int) -> None:
        for turn in count():
            due = began + (place + turn * threads) / rate if rate else time.time()
            if stop.wait(max(0.0, due - time.time())) or time.time() > began + seconds:
                return
            visitors.visit(due)
            done[place] += 1

    workers = [threading.Thread(target=work, args=(place,)) for place in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done)


def main() -> None:
    """Visit, and print how many visits were made in how many seconds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--posts", required=True)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--threads", type=int, default=48)
    parser.add_argument("--seconds", type=float, default=86400.0)
    parser.add_argument("--tag", required=True)
    parser.add_argument("--answers", required=True)
    given = parser.parse_args()
    posts = tuple(int(post) for post in given.posts.split(","))
    with Path(given.answers).open("w", encoding="utf-8", buffering=1) as answers:
        visitors = Visitors(given.url, posts, given.users, given.tag, answers)
        began = time.monotonic()
        visits = come(visitors, threads=given.threads, rate=given.rate, seconds=given.seconds)
    print(json.dumps({"visits": visits, "seconds": time.monotonic() - began}))  # noqa: T201  its result


if __name__ == "__main__":
    main()
