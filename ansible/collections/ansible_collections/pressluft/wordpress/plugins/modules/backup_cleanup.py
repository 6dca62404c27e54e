#!/usr/bin/python
# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Forget backups that had their time."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_cleanup
short_description: Forget expired backups and prune the repository
description:
  - Forgets the snapshots that O(request) names in C(expired), and removes from the repository what only they used.
  - Whatever is asked, a snapshot of another environment and the environment's newest full backup stay.
version_added: 0.1.0
author: The Pressluft authors (@pressluft)
extends_documentation_fragment:
  - pressluft.wordpress.call
attributes:
  check_mode:
    support: full
    description: Only looks whether the repository answers.
"""

EXAMPLES = r"""
- name: Forget expired backups
  pressluft.wordpress.backup_cleanup:
    job: "{{ pressluft_job }}"
    settings: "{{ pressluft_settings }}"
    environment: "{{ pressluft_environment }}"
    request:
      expired: [4219cfcbb73d9f483fa3671fe636a5f9ab88a5f30cdec692f1d39f6b3b22fdb9]
"""

RETURN = r"""
pressluft:
  description: C(cleanup) with C(forgotten) and C(kept), null in check mode, and C(node), how the environment stands.
  returned: always
  type: dict
  sample: {cleanup: {forgotten: [4219cfcbb73d], kept: []}}
"""

from contextlib import ExitStack, closing

from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import run_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.backup import open_storage
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import open_environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_config import read_node_config
from ansible_collections.pressluft.wordpress.plugins.module_utils.retention import forget_backups


def clean_up(call):
    """Forget under the environment's lock, and end the job."""
    config = read_node_config(call.config_dir)
    with ExitStack() as stack:
        conn = stack.enter_context(closing(connect(config.mysql_defaults_file)))
        opened = open_environment(call.state_dir, call.environment, job=call.job, conn=conn)
        state = stack.enter_context(opened)
        restic = open_storage(call.state_dir, call.config_dir, config)
        if call.check_mode:
            return {"cleanup": None, "node": state.report()}
        cleanup = forget_backups(state, restic, list(call.request.get("expired") or []))
        state.journal().record_end({"cleanup": cleanup})
        state.finish_job()
        return {"cleanup": cleanup, "changed": True, "node": state.report()}


def main():
    """Run the module."""
    run_module(clean_up, required=("environment",))


if __name__ == "__main__":
    main()
