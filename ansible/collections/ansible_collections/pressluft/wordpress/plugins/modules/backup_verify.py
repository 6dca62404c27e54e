#!/usr/bin/python
# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Say whether a backup may stand behind a promotion, by the storage as it is now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_verify
short_description: Prove that a full backup is in the storage and newer than the last change
description:
  - Takes the backup that O(request) names as C(backup.snapshot_id), or the newest full one, and looks whether this node
    made it and read it back, whether it began after Pressluft last changed the environment, whether the storage
    lists its snapshot now, and whether restic finds the pack index whole.
  - A backup that is not good enough is an answer with C(valid) false and the C(reason), never a failure. How old it
    may be is the controller's rule.
  - Without C(backup) in O(request) nothing is looked at, and C(backup) is null.
version_added: 0.1.0
author: The Pressluft authors (@pressluft)
extends_documentation_fragment:
  - pressluft.wordpress.call
attributes:
  check_mode:
    support: full
    description: The module only reads.
"""

EXAMPLES = r"""
- name: Verify the backup behind the promotion
  pressluft.wordpress.backup_verify:
    job: "{{ pressluft_job }}"
    settings: "{{ pressluft_settings }}"
    production: "{{ pressluft_production }}"
    request:
      backup:
        snapshot_id: 4219cfcbb73d9f483fa3671fe636a5f9ab88a5f30cdec692f1d39f6b3b22fdb9
"""

RETURN = r"""
pressluft:
  description: C(backup), or null where none was asked for, and C(node), how the environment stands.
  returned: always
  type: dict
  sample:
    backup:
      snapshot_id: 4219cfcbb73d9f483fa3671fe636a5f9ab88a5f30cdec692f1d39f6b3b22fdb9
      began_at: "2026-01-02T03:04:05.000000Z"
      ended_at: "2026-01-02T03:04:09.000000Z"
      last_change_at: "2026-01-01T03:04:05.000000Z"
      valid: true
      reason: ""
"""

from contextlib import ExitStack, closing

from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import find_subject, run_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.backup import open_storage, verify_backup
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import open_environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.kept import drop_expired
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_config import read_node_config
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError


def verify(call):
    """Look at the backup of the environment that the job is about."""
    environment = find_subject(call)
    if environment is None:
        raise NodeError("INTENT_INVALID", "no environment to look at", "Give the job's environment.")
    asked = call.request.get("backup")
    if asked is None:
        return {"backup": None}
    config = read_node_config(call.config_dir)
    with ExitStack() as stack:
        conn = stack.enter_context(closing(connect(config.mysql_defaults_file)))
        state = stack.enter_context(open_environment(call.state_dir, environment, job=call.job, conn=conn))
        if not call.check_mode:
            drop_expired(state, conn)
        backup = verify_backup(
            state.folder,
            lambda: open_storage(call.state_dir, call.config_dir, config),
            snapshot_id=asked.get("snapshot_id"),
            last_change_at=state.content["last_change_at"],
        )
        return {"backup": backup, "node": state.report()}


def main():
    """Run the module."""
    run_module(verify)


if __name__ == "__main__":
    main()
