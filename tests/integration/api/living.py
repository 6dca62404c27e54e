"""A facade that answers over real HTTP, on a real bare repo, with callers of every kind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid5

import httpx
from argon2 import PasswordHasher

from api.app import Facade, make_facade
from api.door import Limits
from api.server import Server, make_server
from api.tokens import TokenFile
from reconciler.core.party import Parties
from reconciler.core.record import find_protection
from reconciler.core.variables import NodeFolders
from reconciler.daemon import SystemClock, open_repo
from reconciler.errors import TipMoved
from reconciler.observe import Observer
from reconciler.ports import Branch, CommitMessage
from reconciler.reconcile import run_pass
from reconciler.settings import Settings
from reconciler.worker import Reconciler
from schemas.document import dump
from schemas.fleet import Environment, Node, Site
from schemas.state import (
    DriftStatus,
    EnvironmentStatus,
    EnvironmentType,
    Preset,
    Proof,
    ResourceClass,
    ResourceKind,
    Verdict,
)
from schemas.status import (
    DriftCheckRecord,
    EnvironmentRecord,
    JobRecord,
    ResourceVerdict,
    make_record_path,
)
from tests.big_fleet import SPACE, import_files, list_documents, make_backup, make_environment, make_job
from tests.fake_runner import FakePlaybookRunner
from tests.story import STEPS
from tests.story import Node as NodeOfStory

PASSWORD = "correct horse battery staple"
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)
PATIENCE = Limits(stream_seconds=0.5, patience_seconds=0.5)
SITE, OTHER = "site-0000", "site-0001"


def make_id(name: str) -> UUID:
    """Return the id that the test fleet gives to a document, such as `site-0000/staging`."""
    return uuid5(SPACE, name)


SITE_ID, OTHER_ID = make_id(SITE), make_id(OTHER)
PRODUCTION_ID, STAGING_ID = make_id(f"{SITE}/production"), make_id(f"{SITE}/staging")


@dataclass
class Living:
    """A served fleet repo. `admin`, `writer` (of one site), `reader` and `nobody` are clients with their proofs."""

    settings: Settings
    facade: Facade
    server: Server
    url: str
    writer_token: str
    reader_token: str

    def client(self, token: str | None = None, *, timeout: float = 40) -> httpx.Client:
        """Make a client, with a bearer token or with nothing."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=timeout)

    def admin(self) -> httpx.Client:
        """Log in as the admin."""
        answer = httpx.post(f"{self.url}/api/login", json={"password": PASSWORD}).raise_for_status()
        client = self.client()
        client.cookies = answer.cookies
        return client

    def writer(self) -> httpx.Client:
        """A program that may ask for things of one site."""
        return self.client(self.writer_token)

    def reader(self) -> httpx.Client:
        """A program that may read everything."""
        return self.client(self.reader_token)

    def change(self, changes: dict[str, bytes | None]) -> str:
        """Commit as somebody else would: a person, or the reconciler."""
        with open_repo(self.settings, purpose="somebody") as repo:
            while True:
                tip = repo.fetch()
                try:
                    return repo.push_changes(
                        Branch.INTENTS,
                        expected=tip.intents,
                        changes=changes,
                        message=CommitMessage("Change by hand"),
                    )
                except TipMoved:
                    continue

    def list_intents(self, site: str = SITE) -> dict[str, bytes]:
        """Read all intents of a site, by path."""
        with open_repo(self.settings, purpose="somebody") as repo:
            tip = repo.fetch().intents
            folder = repo.read_folder(tip, f"intents/{site}") if tip else None
            entries = folder.entries if folder else ()
            return {f"intents/{site}/{entry.name}": repo.read_blob(entry.oid) for entry in entries}


def make_small_fleet(folder: Path, *, jobs: int = 12) -> Path:
    """Make a bare repo of two sites with a little history; the first one's staging is ready to be promoted."""
    bare = folder / "fleet.git"
    files = dict(list_documents(sites=2, nodes=1))
    now = datetime.now(UTC).replace(microsecond=0)
    ended: dict[str, list[UUID]] = {SITE: [], OTHER: []}
    for number in range(jobs):
        site = (SITE, OTHER)[number % 2]
        job = make_job(number, site, now - timedelta(days=40 - 3 * number))
        files[make_record_path(job, site=site)] = dump(job)
        ended[site].append(job.id)
    for site, ids in ended.items():
        files[f"status/{site}/ended.txt"] = "".join(f"{job_id}\n" for job_id in ids).encode()
    files |= make_open_gates(now)
    import_files(bare, files)
    return bare


def make_open_gates(now: datetime) -> dict[str, bytes]:
    """Make the records that open the gates of the first site's promotion: a clean check, a fresh backup."""
    job = make_job(1000, SITE, now - timedelta(minutes=4))
    backup = make_backup(job)
    check = make_check(now - timedelta(seconds=30))
    record = EnvironmentRecord(
        id=STAGING_ID,
        name="staging",
        site_id=SITE_ID,
        drift_status=check.status,
        drift_checked_at=check.checked_at,
        last_drift_check_id=check.id,
        created_at=now,
        updated_at=now,
    )
    return {make_record_path(item, site=SITE): dump(item) for item in (backup, check, record)}


def make_check(at: datetime, *, status: DriftStatus = DriftStatus.CLEAN) -> DriftCheckRecord:
    """Make a drift check of the first site's staging."""
    production = make_environment(SITE, EnvironmentType.PRODUCTION, node="node-00")
    staging = make_environment(SITE, EnvironmentType.STAGING, node="node-00")
    parties = make_parties(staging, production)
    verdict = Verdict.CLEAN if status is DriftStatus.CLEAN else Verdict.DRIFTED
    return DriftCheckRecord(
        id=uuid5(SPACE, f"check {at} {status}"),
        status=status,
        site=SITE,
        job_id=uuid5(SPACE, "job 1001"),
        source_environment_id=STAGING_ID,
        target_environment_id=PRODUCTION_ID,
        promotion_preset=Preset.CONTENT_PROTECT,
        protection_digest=find_protection(parties).digest(),
        checked_at=at,
        resources=(
            ResourceVerdict(
                kind=ResourceKind.TABLE,
                name="posts",
                protection=ResourceClass.PROTECTED,
                verdict=verdict,
                proof=Proof.DIGEST,
                before="a" * 64,
                after="a" * 64 if status is DriftStatus.CLEAN else "b" * 64,
                samples=() if status is DriftStatus.CLEAN else ("ID 7",),
            ),
            ResourceVerdict(
                kind=ResourceKind.PATH,
                name="wp-content/uploads",
                protection=ResourceClass.PROTECTED,
                verdict=Verdict.CLEAN,
                proof=Proof.MANIFEST,
            ),
        ),
    )


def make_parties(source: Environment, production: Environment) -> Parties:
    """Put the two sides together, as far as protection goes."""
    site = Site.model_construct()
    return Parties(site, production, Node.model_construct(), production, source)


def make_settings(folder: Path, repo: Path | str) -> Settings:
    """Make a facade's settings, on a free port."""
    password_file = folder / "admin.hash"
    password_file.write_text(PASSWORD_HASH)
    (folder / "hook.secret").write_text("hook secret\n")
    return Settings(
        repo=str(repo),
        state_dir=folder / "state",
        worker="facade",
        admin_password_hash=password_file,
        webhook_secret=folder / "hook.secret",
        port=0,
        poll_seconds=1,
    )


@contextmanager
def live(settings: Settings, *, limits: Limits = PATIENCE) -> Iterator[Living]:
    """Serve until the block ends."""
    tokens, now = TokenFile(settings.token_file), datetime.now(UTC)
    names = {entry.name for entry in tokens.list_entries()}
    for name in names & {"writer", "reader"}:
        tokens.revoke(name)
    writer = tokens.create("writer", sites=[SITE], may_write=True, now=now)
    reader = tokens.create("reader", sites=[], may_write=False, now=now)
    facade = make_facade(settings, limits=limits)
    server = make_server(facade, settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        url = f"http://127.0.0.1:{find_port(server, thread)}"
        await_ready(url)
        yield Living(settings, facade, server, url, writer, reader)
    finally:
        server.should_exit = True
        thread.join(timeout=30)


def find_port(server: Server, thread: threading.Thread) -> int:
    """Wait for the server to listen and return its port."""
    while not server.started:
        assert thread.is_alive(), "the server ended before it listened"
        time.sleep(0.01)
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port


def await_ready(url: str) -> None:
    """Wait until the fleet repo was read."""
    deadline = time.monotonic() + 20
    while httpx.get(f"{url}/readyz").status_code != 200:
        assert time.monotonic() < deadline, "the facade did not become ready"
        time.sleep(0.02)


def make_failed(now: datetime) -> dict[str, bytes]:
    """Make the first site's production `failed`."""
    record = EnvironmentRecord(
        id=PRODUCTION_ID,
        name="production",
        site_id=SITE_ID,
        status=EnvironmentStatus.FAILED,
        created_at=now,
        updated_at=now,
    )
    return {make_record_path(record, site=SITE): dump(record)}


def make_running(job: JobRecord) -> JobRecord:
    """Make a job that runs of an ended one."""
    return replace_fields(job, status="running", finished_at=None, error_code=None, error_message=None)


def replace_fields(job: JobRecord, **fields: object) -> JobRecord:
    """Change fields, and validate."""
    return JobRecord.model_validate({**job.model_dump(), **fields})


@contextmanager
def reconciling(living: Living) -> Iterator[tuple[FakePlaybookRunner, NodeOfStory]]:
    """Let a reconciler without Ansible carry out what is asked, for as long as the block lasts."""
    runner, stopping = FakePlaybookRunner(), threading.Event()
    node = NodeOfStory(SystemClock())  # type: ignore[arg-type] # it only asks for the time
    for step in STEPS:
        runner.answer(step, node.answer)

    def work() -> None:
        with open_repo(living.settings, purpose="reconciler") as repo:
            reconciler = Reconciler(
                repo=repo,
                runner=runner,
                clock=SystemClock(),
                observer=Observer(repo),
                worker="worker-1",
                max_jobs=4,
                folders=NodeFolders("/state", "/etc/pressluft"),
            )
            while not stopping.wait(0.02):
                run_pass(reconciler)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield runner, node
    finally:
        stopping.set()
        thread.join()
