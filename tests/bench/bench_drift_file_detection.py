"""What each way to check a folder sees of each adversarial change. Run by `make bench-drift`."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import manifest_cache
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest import measure_folder
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest_cache import ManifestCache

from tests.bench.rival import run_shell
from tests.unit.node.file_changes import CHANGES, SAME, folder

__all__ = ["folder"]

Look = Callable[[Path], object]
SEEN: dict[str, dict[str, list[str]]] = {}


@pytest.fixture(scope="module", autouse=True)
def summary() -> Iterator[None]:
    """Print, at the end, what each of them missed and what it was wrong about."""
    yield
    sys.stdout.write(f"\n\nfiles: {len(CHANGES)} changes, {len(SAME)} that are none\n")
    for name, seen in SEEN.items():
        sys.stdout.write(
            f"  {name}: missed {len(seen['missed'])} ({', '.join(seen['missed'])});"
            f" false alarms {len(seen['false'])} ({', '.join(seen['false'])})\n"
        )


def look_with_pressluft(top: Path) -> object:
    return measure_folder(str(top)).digest


def look_with_a_memory(top: Path) -> object:
    state = top.parent / "state"
    state.mkdir(mode=0o700, exist_ok=True)
    return ManifestCache(str(state), str(state / "uploads")).measure_folder(str(top)).digest


def look_with_rsync(top: Path) -> object:
    """What would be copied to a copy that was made at the first look."""
    copy = top.parent / "copy"
    if not copy.exists():
        run_shell(f"cp -a {top} {copy}")
    return run_shell(f"rsync -acn --delete --itemize-changes {top}/ {copy}/")


def look_with_find(top: Path) -> object:
    return run_shell(f"cd {top} && find . -printf '%P %y %m %U %G %s %T@ %l\\0' | sort -z | sha256sum")


def look_with_sha256sum(top: Path) -> object:
    return run_shell(f"cd {top} && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum")


LOOKS: dict[str, Look] = {
    "pressluft": look_with_pressluft,
    "pressluft, with a memory": look_with_a_memory,
    "rsync -acn": look_with_rsync,
    "find -printf": look_with_find,
    "sha256sum": look_with_sha256sum,
}


@pytest.mark.parametrize(
    ("change", "differs"),
    [pytest.param(*case.values, True, id=case.id) for case in CHANGES]
    + [pytest.param(*case.values, False, id=case.id) for case in SAME],
)
def test_who_sees_it(
    request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch, *,
    change: Callable[[Path], object], differs: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(manifest_cache, "SETTLED_SECONDS", -1)  # all that is remembered is relied on
    label = request.node.callspec.id
    first = {name: look(folder) for name, look in LOOKS.items()}
    change(folder)
    for name, look in LOOKS.items():
        seen = SEEN.setdefault(name, {"missed": [], "false": []})
        if (look(folder) != first[name]) != differs:
            seen["missed" if differs else "false"].append(label)
    for name in ("pressluft", "pressluft, with a memory"):
        assert label not in SEEN[name]["missed"] + SEEN[name]["false"]
