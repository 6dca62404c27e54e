"""A stand-in for the daemon, to be killed: starts one run that waits, and tells its key.

python -m tests.integration.runner.daemon RUN_ROOT PIPE
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.integration.runner.stage import Stage, make_spec


def main() -> None:
    """Start the run, write its key, and wait for the end that comes from outside."""
    run_root, pipe = sys.argv[1:]
    key = Stage(Path(run_root)).runner.start(make_spec("sleep", variables={"pipe": pipe}))
    sys.stdout.write(f"{key}\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main()
