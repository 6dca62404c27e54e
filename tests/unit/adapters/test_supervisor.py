"""What each run of a playbook costs before Ansible even starts."""

from __future__ import annotations

import subprocess
import sys

LOOK = (
    "import sys, reconciler.adapters.supervisor; print([name for name in sys.modules if name == 'pydantic'])"
)


def test_a_supervisor_does_not_load_the_schemas() -> None:
    """They take as long as all the rest of it, and no run reads a document."""
    found = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
