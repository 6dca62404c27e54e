"""Every command on a page can be typed, and all that need no servers of a site are typed here.

The daemon's place is taken by a reconciler over the same real repository, with a fake node behind it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import typer

from reconciler.adapters.git_repo import Identity, open_fleet_repo
from reconciler.core.variables import NodeFolders
from reconciler.daemon import SystemClock
from reconciler.docs.command_line import find_commands
from reconciler.errors import PressluftError
from reconciler.observe import Observer
from reconciler.reconcile import run_pass
from reconciler.stack.ports import find_free_port
from reconciler.worker import Reconciler
from tests.contract.doc_page import CHECKOUT, PAGES, Command, list_commands, list_spans, name_page
from tests.fake_runner import FakePlaybookRunner
from tests.story import STEPS, Node

TUTORIAL = CHECKOUT / "docs/tutorial/first-promotion.md"
SERVERS = re.compile(r"(make|curl|pressluft (adopt|doctor|demo|serve|cancel|node|run(?! --once)))\b")
"""What needs servers or a job under way, or serves until it is stopped: typed by other tests."""
WAIT_SECONDS = 60


def list_pressluft_commands() -> list[tuple[str, str]]:
    """List what is said about our own program anywhere: the page, and the words."""
    found = []
    for page in PAGES:
        lines = [command.text for command in list_commands(page)]
        spans = [span for span in list_spans(page) if not span.endswith("...")]
        typed = [text for text in (*lines, *spans) if re.match(r"pressluft [a-zA-Z-]", text)]
        found += [(name_page(page), text) for text in typed]
    workflow = (CHECKOUT / "examples/github-workflow.yml").read_text()
    found += [
        ("github-workflow.yml", text) for text in re.findall(r"^ *- run: (pressluft .*)$", workflow, re.M)
    ]
    return sorted(set(found))


@pytest.mark.parametrize(("page", "text"), list_pressluft_commands())
def test_a_command_on_a_page_is_one_of_ours(page: str, text: str) -> None:
    parse(text, page=page)


def parse(text: str, *, page: str) -> None:
    """Parse a command as the command line would, without running it; a bare name only has to exist."""
    words = shlex.split(text, comments=True)[1:]
    if words[0] in {"COMMAND", "--version"}:
        return
    commands = find_commands()
    name = " ".join(words[:2]) if " ".join(words[:2]) in commands else words[0]
    groups = {known.partition(" ")[0] for known in commands if " " in known}
    assert name in commands or name in groups, f"{page}: there is no command {name!r}"
    arguments = words[name.count(" ") + 1 :]
    if arguments:
        assert name in commands, f"{page}: there is no command {' '.join(words[:2])!r}"
        commands[name].make_context(name, arguments)


def test_a_wrong_option_would_be_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse("pressluft promote acme/staging --force", page="somewhere.md")
    with pytest.raises(AssertionError, match="no command"):
        parse("pressluft adorn", page="somewhere.md")


def test_remedies_in_messages_name_commands_that_exist() -> None:
    sources = [*(CHECKOUT / "reconciler").rglob("*.py"), *(CHECKOUT / "schemas").rglob("*.py")]
    said = [
        (path.name, re.sub(r"\{[^}]*\}", "X", text))
        for path in sources
        if "docs" not in path.parts
        for text in re.findall(r"`(pressluft [^`]+)`", path.read_text())
    ]
    assert len(said) > 5
    for name, text in said:
        if re.fullmatch(r"[\w /.:=<>-]+", text):
            parse(text.replace("[", "").replace("]", ""), page=name)


def test_every_target_of_make_on_a_page_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", (CHECKOUT / "Makefile").read_text(), re.M))
    said = [command.text for page in PAGES for command in list_commands(page)]
    said += [span for page in PAGES for span in list_spans(page)]
    named = {text.split()[1] for text in said if text.startswith("make ")}
    assert {"demo", "test"} <= named
    assert named <= targets


@dataclass
class Desk:
    """Somebody's machine: a home, a fleet repo beside it, and a daemon with a fake node that works on it."""

    folder: Path
    node: Node = field(default_factory=lambda: Node(SystemClock()))  # type: ignore[arg-type] # it only asks for now()
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def fleet(self) -> Path:
        """The bare fleet repo, once a page or `prepare` has made it."""
        return self.folder / "fleet.git"

    @property
    def bell(self) -> Path:
        """A file that a script makes, and that goes away once nothing is left to do."""
        return self.folder / "bell"

    def environment(self) -> Mapping[str, str]:
        """Make the environment of this machine's commands."""
        person = {"NAME": "Olive", "EMAIL": "olive@example.test"}
        return {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder / "home"),
            "LANG": "C.UTF-8",
            "EDITOR": str(self.folder / "bin" / "edit"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{
                f"GIT_{who}_{what}": value
                for who in ("AUTHOR", "COMMITTER")
                for what, value in person.items()
            },
            "PRESSLUFT_STATE_DIR": str(self.folder / "state"),
        }

    def furnish(self) -> None:
        """Put our program and an editor on the path."""
        for name in ("bin", "home"):
            (self.folder / name).mkdir()
        self._write_program("pressluft", f'exec {shlex.quote(sys.executable)} -m reconciler "$@"')
        self._write_program("edit", 'for file; do echo "# edited" >> "$file"; done')

    def _write_program(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run(self, script: str, *, folder: Path, **variables: str) -> str:
        """Run a script and return what it printed; fails the test if it does not exit 0."""
        done = subprocess.run(
            ["bash", "-u", "-c", script],
            cwd=folder,
            env={**self.environment(), "PYTHONPATH": str(CHECKOUT), **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def work(self) -> None:
        """Carry out what is committed until `stop`, as the daemon does."""
        runner = FakePlaybookRunner()
        for step in STEPS:
            runner.answer(step, self.node.answer)
        while not self._stop.wait(0.05):
            rung = self.bell.exists()
            if (not self.fleet.is_dir() or self._pass(runner)) and rung:
                self.bell.unlink()

    def _pass(self, runner: FakePlaybookRunner) -> bool:
        """Run one pass; whether nothing is open after it."""
        try:
            repo = open_fleet_repo(
                str(self.fleet), branch=None, status_branch=None, signing_key=None, ssh_key=None,
                identity=Identity("pressluft desk", "desk@example.test"), known_hosts=None,
                state_dir=self.folder / "desk-state",
            )  # fmt: skip
        except PressluftError:
            return False  # somebody is making it right now
        with repo:
            folders = NodeFolders("/state", "/etc/pressluft")
            report = run_pass(
                Reconciler(repo, runner, SystemClock(), Observer(repo), "desk", max_jobs=4, folders=folders)
            )
        return report.running == 0 and report.queued == 0

    def stop(self) -> None:
        """End `work`."""
        self._stop.set()


@contextmanager
def run_desk(folder: Path) -> Iterator[Desk]:
    """Furnish a desk in a folder and let its daemon work."""
    desk = Desk(folder)
    desk.furnish()
    worker = threading.Thread(target=desk.work)
    worker.start()
    try:
        yield desk
    finally:
        desk.stop()
        worker.join(timeout=WAIT_SECONDS)
    assert not worker.is_alive()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with run_desk(tmp_path) as desk:
        yield desk


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a fleet on which something has happened already, and a clone of it."""
    with run_desk(tmp_path_factory.mktemp("prepared")) as desk:
        desk.run(PREPARE, folder=desk.folder)
    return desk.folder


PREPARE = """
set -e
pressluft init fleet > init.log
git clone --quiet --bare fleet fleet.git
export PRESSLUFT_REPO=$PWD/fleet.git
pressluft refresh acme/staging --scope full --wait
pressluft promote acme/staging --backup --wait
pressluft backup acme/production --wait
pressluft drift-check acme/staging --wait
"""


DRAFT = """\
apiVersion: pressluft/v1
kind: Promotion
metadata: {name: spring-release}
spec: {source: staging, target: production, backup: create}
"""


def take_over(prepared: Path, desk: Desk) -> None:
    """Give a desk a copy of the prepared fleet, and a clone of its own with an intent that is not committed yet."""
    shutil.copytree(prepared / "fleet.git", desk.fleet)
    desk.run("git clone --quiet fleet.git clone", folder=desk.folder)
    draft = desk.folder / "clone/intents/acme/spring-release.yaml"
    draft.write_text(DRAFT)


RING = 'touch "$BELL"; for _ in {1..1500}; do [ -e "$BELL" ] || break; sleep 0.02; done; [ ! -e "$BELL" ] || exit 9'


def make_script(commands: list[Command]) -> str:
    """Make a script of a page's commands: each exits as the page says, and nothing is open before the next."""
    lines = []
    for command in commands:
        expected = 1 if command.is_refused else 0
        check = f'code=$?; [ $code = {expected} ] || {{ echo "exit $code: "{shlex.quote(command.text)}; exit 1; }}'
        lines += [command.text, check, RING]
    return "\n".join(lines)


def list_typed(page: Path) -> list[Command]:
    """List the commands of a page that are typed here."""
    return [command for command in list_commands(page) if not SERVERS.match(command.text)]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if list_typed(page) and page != TUTORIAL], ids=name_page
)
def test_the_commands_of_a_page_do_what_it_says(page: Path, desk: Desk, prepared: Path) -> None:
    if page.name == "README.md" and page.parent == CHECKOUT:
        desk.run(make_script(list_typed(page)), folder=desk.folder, BELL=str(desk.bell))
        return
    take_over(prepared, desk)
    variables = {"PRESSLUFT_REPO": str(desk.fleet), "BELL": str(desk.bell)}
    (job,) = json.loads(desk.run("pressluft jobs --limit 1 --json", folder=desk.folder, **variables))
    records = desk.run("git ls-tree -r --name-only HEAD status/acme/backups", folder=desk.folder / "clone")
    known = {
        "BACKUP_ID": Path(records.split()[-1]).stem,
        "JOB_ID": job["id"],
        "job 3f9a": f"job {job['id'][:8]}",
    }
    script = make_script(list_typed(page))
    for word, value in known.items():
        script = script.replace(word, value)
    folder = CHECKOUT if page.is_relative_to(CHECKOUT / "examples") else desk.folder / "clone"
    desk.run(script, folder=folder, **variables)


def test_a_command_that_fails_would_be_found(desk: Desk) -> None:
    script = make_script([Command("pressluft check nowhere", is_refused=False)])
    with pytest.raises(AssertionError, match="exit 2: pressluft check nowhere"):
        desk.run(script, folder=desk.folder, BELL=str(desk.bell))


def start(desk: Desk, *words: str) -> subprocess.Popen[str]:
    """Start a command that serves until it is stopped, on the desk's fleet."""
    return subprocess.Popen(
        [str(desk.folder / "bin" / "pressluft"), *words],
        cwd=desk.folder,
        env={**desk.environment(), "PYTHONPATH": str(CHECKOUT), "PRESSLUFT_REPO": str(desk.fleet)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_daemon_runs_until_it_is_told_to_stop(desk: Desk) -> None:
    desk.stop()
    desk.run(
        "pressluft init fleet > init.log && git clone --quiet --bare fleet fleet.git", folder=desk.folder
    )
    with start(desk, "run") as daemon:
        assert daemon.stderr is not None
        assert any("watching" in line for line in daemon.stderr)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(timeout=WAIT_SECONDS) == 0


def test_the_facade_answers_at_its_port(desk: Desk) -> None:
    desk.run(
        "pressluft init fleet > init.log && git clone --quiet --bare fleet fleet.git", folder=desk.folder
    )
    port = find_free_port("127.0.0.1")
    with start(desk, "serve", "--port", str(port)) as facade:
        try:
            assert await_answer(f"http://127.0.0.1:{port}/healthz") == {"status": "ok"}
        finally:
            facade.terminate()


def await_answer(url: str) -> object:
    """Ask until something answers, and return its JSON."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            with opener.open(url, timeout=5) as answer:
                return json.load(answer)
        except OSError:
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.05)


def test_the_commands_are_listed_in_the_order_of_the_help() -> None:
    page = (CHECKOUT / "docs/reference/command-line.md").read_text()
    assert re.findall(r"^### (.+)$", page, re.M) == list(find_commands())
    assert isinstance(next(iter(find_commands().values())), typer.core.TyperCommand)
