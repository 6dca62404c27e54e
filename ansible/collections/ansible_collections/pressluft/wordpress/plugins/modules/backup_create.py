#!/usr/bin/python
# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Back up one environment and read the backup back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_create
short_description: Back up an environment and read the backup back
description:
  - Stores a consistent dump of the environment's tables and the files of its root in the restic repository that
    C(node.ini) names, as one snapshot, with what its links to uploads and preserved files lead to. Caches and
    releases that are not served are left out.
  - Then reads every byte of the snapshot back from the storage. Only a backup that came back whole is noted in the
    environment's C(backups.json) and returned.
  - O(request) holds C(scope), one of C(full), C(db), C(files), and C(retention_until), ISO 8601. With C(present_only)
    the scope is what is there of the environment; where all is gone, nothing is stored and C(backup) is null.
  - Credentials are files on the node; none is on a command line or in a message.
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
- name: Back up and read back
  pressluft.wordpress.backup_create:
    job: "{{ pressluft_job }}"
    settings: "{{ pressluft_settings }}"
    environment: "{{ pressluft_environment }}"
    request:
      scope: full
      retention_until: "2026-02-01T00:00:00Z"
"""

RETURN = r"""
pressluft:
  description: C(backup), or null in check mode, and C(node), how the environment stands (see node-protocol.md).
  returned: always
  type: dict
  sample:
    backup:
      snapshot_id: 4219cfcbb73d9f483fa3671fe636a5f9ab88a5f30cdec692f1d39f6b3b22fdb9
      scope: full
      began_at: "2026-01-02T03:04:05.000000Z"
      ended_at: "2026-01-02T03:04:09.000000Z"
      read_back_at: "2026-01-02T03:04:11.000000Z"
      size_bytes: 104857600
      repository: /var/backups/pressluft
"""

from contextlib import ExitStack, closing

from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import run_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.backup import (
    FULL,
    SCOPES,
    create_backup,
    find_present_scope,
    open_storage,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import open_environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.kept import drop_expired
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_config import read_node_config
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import make_protection

JOB_TYPE = "backup_create"


def back_up(call):
    """Back up under the environment's lock; the job ends here unless the backup is a part of another one."""
    scope = call.request.get("scope") or FULL
    if scope not in SCOPES:
        raise NodeError("INTENT_INVALID", "{0!r} is no scope".format(scope), "Ask for full, db or files.")
    config = read_node_config(call.config_dir)
    with ExitStack() as stack:
        conn = stack.enter_context(closing(connect(config.mysql_defaults_file)))
        opened = open_environment(call.state_dir, call.environment, job=call.job, conn=conn)
        state = stack.enter_context(opened)
        if not call.check_mode:
            drop_expired(state, conn)
        restic = open_storage(call.state_dir, call.config_dir, config)
        if call.request.get("present_only"):
            scope = find_present_scope(conn, call.environment)
        is_wanted = scope and not call.check_mode
        backup = _make_backup(call, state, restic, config=config, scope=scope) if is_wanted else None
        return {"backup": backup, "changed": True, "node": state.report()}


def _make_backup(call, state, restic, *, config, scope):
    journal, is_own_job = state.journal(), call.job.type == JOB_TYPE
    if is_own_job and journal.result is not None:
        backup = journal.result["backup"]  # killed before it could note that the job had ended
    else:
        backup = create_backup(
            state,
            restic,
            scope=scope,
            retention_until=call.request.get("retention_until"),
            defaults_file=config.mysql_defaults_file,
            protection=make_protection(call.protection),
        )
        journal.record("backup", {"snapshot_id": backup["snapshot_id"]}, epoch=call.job.epoch)
    if is_own_job:
        journal.record_end({"backup": backup})
        state.finish_job()
    return backup


def main():
    """Run the module."""
    run_module(back_up, required=("environment",))


if __name__ == "__main__":
    main()
