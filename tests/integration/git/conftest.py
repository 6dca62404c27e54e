"""Real repositories for the git adapters."""

from tests.integration.git.https import https
from tests.integration.git.opening import fleet, signing_key
from tests.integration.git.sshd import sshd

__all__ = ["fleet", "https", "signing_key", "sshd"]
