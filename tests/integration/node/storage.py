"""What lies in a restic repository, by its own index."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path


def find_pack(repository: Path, *, password: Path, holds: str) -> Path:
    """Find a pack that `holds` one kind of blob and nothing else: `data`, contents of files, or `tree`, folders."""

    def ask(*words: str) -> str:
        environment = dict(os.environ, RESTIC_REPOSITORY=str(repository), RESTIC_PASSWORD_FILE=str(password))
        command = ["restic", "--no-cache", *words]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    packs = [
        pack
        for name in ask("list", "index").split()
        for pack in json.loads(ask("cat", "index", name))["packs"]
    ]
    found = next(pack["id"] for pack in packs if {blob["type"] for blob in pack["blobs"]} == {holds})
    return repository / "data" / found[:2] / found
