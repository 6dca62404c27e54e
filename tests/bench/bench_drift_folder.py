"""How fast a folder is checked, beside what else checks folders. Run by `make bench-drift`.

PRESSLUFT_BENCH_FILES (200,000 files of 14 KB on average) and PRESSLUFT_BENCH_ROUNDS (7) make it smaller.
"""

import os
import random
import sys
from pathlib import Path

import pytest
from ansible_collections.pressluft.wordpress.plugins.module_utils import manifest_cache
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest import measure_folder
from ansible_collections.pressluft.wordpress.plugins.module_utils.manifest_cache import ManifestCache

from tests.bench.rival import race, report, run_shell

FILES = int(os.environ.get("PRESSLUFT_BENCH_FILES", "200000"))
ROUNDS = int(os.environ.get("PRESSLUFT_BENCH_ROUNDS", "7"))
AVERAGE_BYTES = 14_000
IN_A_FOLDER = 1000


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of uploads: sizes as of pictures, a thousand in each folder."""
    chance, top = random.Random(1), tmp_path_factory.mktemp("bench") / "uploads"
    pool = chance.randbytes(1 << 20)
    for number in range(FILES):
        folder = top / f"{number // IN_A_FOLDER:04d}"
        if number % IN_A_FOLDER == 0:
            folder.mkdir(parents=True)
        size, start = min(1 << 19, int(chance.expovariate(1 / AVERAGE_BYTES))), chance.randrange(1 << 19)
        (folder / f"picture-{number}-1024x768.jpg").write_bytes(pool[start : start + size])
    return top


def test_a_folder_of_uploads(uploads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_cache, "SETTLED_SECONDS", -1)  # the files are as new as this run
    cache = ManifestCache(str(tmp_path), str(tmp_path / "uploads"))
    first = cache.measure_folder(str(uploads))
    copy = uploads.with_name("copy")
    run_shell(f"cp -a {uploads} {copy}")
    list_files = f"find {uploads} -printf '%P %y %m %U %G %s %T@ %C@ %i\\n'"
    medians = race(
        {
            "pressluft, full": lambda: measure_folder(str(uploads)),
            "pressluft, unchanged": lambda: cache.measure_folder(str(uploads)),
            "xargs -P2 sha256sum": lambda: run_shell(
                f"find {uploads} -type f -print0 | xargs -0 -P2 -n500 sha256sum"
            ),
            "rsync -acn": lambda: run_shell(f"rsync -acn {uploads}/ {copy}/"),
            "b3sum": lambda: run_shell(f"find {uploads} -type f -print0 | xargs -0 -n5000 b3sum"),
            "find -printf": lambda: run_shell(f"{list_files} > /dev/null"),
        },
        rounds=ROUNDS,
    )
    assert cache.measure_folder(str(uploads)).digest == first.digest == measure_folder(str(uploads)).digest
    report(f"{FILES} files", medians, against="find -printf")
    for rival in ("xargs -P2 sha256sum", "rsync -acn", "b3sum"):
        ratio = medians[rival] / medians["pressluft, full"]
        sys.stdout.write(f"  full: {ratio:.2f} x as fast as {rival}\n")
    sys.stdout.write(
        f"  memory of a full reading that is remembered: {measure_memory(uploads, tmp_path)} MiB\n"
    )


def measure_memory(uploads: Path, state: Path) -> int:
    """The most memory of a process that reads everything and remembers it, in MiB."""
    program = (
        "import resource\n"
        f"from {manifest_cache.__name__} import ManifestCache\n"
        f"ManifestCache({str(state)!r}, {str(state / 'memory')!r}).measure_folder({str(uploads)!r})\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    collections = Path(manifest_cache.__file__).parents[5]
    return int(run_shell(f'PYTHONPATH={collections} {sys.executable} -c "{program}"'))
