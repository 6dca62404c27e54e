#!/usr/bin/python
# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Look whether a backup can be restored."""

from __future__ import annotations

DOCUMENTATION = r"""
module: restore_verify
short_description: Look whether a backup can be restored
description:
  - Looks whether the storage lists the snapshot that O(request) names as C(backup.snapshot_id) as a full backup of this
    very environment, and whether restic finds its packs.
  - Notes the digests of the environment's tables, for telling later which were written to after this moment.
version_added: 0.1.0
author: The Pressluft authors (@pressluft)
extends_documentation_fragment:
  - pressluft.wordpress.call
attributes:
  check_mode:
    support: full
    description: Only whether it would be refused.
"""

EXAMPLES = r"""
- name: Look whether a backup can be restored
  pressluft.wordpress.restore_verify:
    job: "{{ pressluft_job }}"
    settings: "{{ pressluft_settings }}"
    environment: "{{ pressluft_environment }}"
    protection: "{{ pressluft_protection }}"
    request: "{{ pressluft_request }}"
"""

RETURN = r"""
pressluft:
  description:
    - C(verified) with C(snapshot_id) and C(time), and C(node), how the environment stands.
  returned: always
  type: dict
  sample: {verified: {snapshot_id: 4219cfcbb73d, time: "2026-01-02T03:04:05Z"}}
pressluft_error:
  description: Why it failed - C(code), C(message), C(remedy), C(retry).
  returned: failure
  type: dict
  sample: {code: BACKUP_INVALID, message: what happened, remedy: what to do next, retry: false}
"""

from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import run_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.restore import verify_restore


def main():
    """Run the module."""
    run_module(verify_restore, required=("environment",))


if __name__ == "__main__":
    main()
