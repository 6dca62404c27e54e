"""Real repositories for the git adapters."""

from tests.integration.git.opening import fleet, signing_key
from tests.integration.git.sshd import sshd

__all__ = ["fleet", "signing_key", "sshd"]
