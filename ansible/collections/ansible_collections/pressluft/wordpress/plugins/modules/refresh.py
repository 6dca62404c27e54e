#!/usr/bin/python
# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Make an environment a copy of production again."""

from __future__ import annotations

DOCUMENTATION = r"""
module: refresh
short_description: Make an environment a copy of production again
description:
  - Copies production's rows of one moment into a shadow database on the source's server, rewrites addresses and paths
    there, brings code and uploads, and exchanges the tables in one RENAME. Production is only read.
  - O(request) holds C(scope). C(protected) pulls the protected tables and paths and the preserved data that belongs
    to them; code, options and all other tables stay. C(full) makes a fresh copy of everything; only the source's own
    preserved options and files stay, and its address.
  - Tables that neither side changed since the last refresh are not copied again, nor are files that are equal.
  - The new baseline is written last. Whatever is killed, the next attempt finishes the refresh or starts it over.
  - Before the copy serves a request, mail, cron and queued actions are off, C(blog_public) is 0, and the owner's
    script C(anonymise) in O(settings.config_dir) has run on the shadow. It is given C(PRESSLUFT_DATABASE),
    C(PRESSLUFT_TABLE_PREFIX), C(PRESSLUFT_DEFAULTS_FILE), C(PRESSLUFT_ENVIRONMENT) and C(PRESSLUFT_TABLES) (names
    without prefix, separated by blanks) in its environment, and the refresh fails unless it ends with 0.
  - With C(anonymise) true in O(request) the refresh also fails if there is no such script.
version_added: 0.1.0
author: The Pressluft authors (@pressluft)
extends_documentation_fragment:
  - pressluft.wordpress.call
attributes:
  check_mode:
    support: full
    description: Every refusal that needs no copy; nothing is made.
"""

EXAMPLES = r"""
- name: Refresh the source
  pressluft.wordpress.refresh:
    job: "{{ pressluft_job }}"
    settings: "{{ pressluft_settings }}"
    production: "{{ pressluft_production }}"
    source: "{{ pressluft_source }}"
    protection: "{{ pressluft_protection }}"
    request:
      scope: protected
"""

RETURN = r"""
pressluft:
  description:
    - C(refresh) with C(tables) and C(rows) copied, C(files) of protected paths copied or removed, C(baseline_id), and
      C(left_alone), up to 50 values that hold production's address and could not be rewritten.
    - C(health) of the source, and C(node), how the environment stands (see node-protocol.md).
  returned: always
  type: dict
  sample:
    refresh: {tables: 7, rows: 4711, files: 3, baseline_id: 5f0c, left_alone: []}
    health: {healthy: true, checks: [{name: database, ok: true, detail: reachable}]}
pressluft_error:
  description: Why it failed - C(code), C(message), C(remedy), C(retry).
  returned: failure
  type: dict
  sample: {code: SCHEMA_UNSUPPORTED, message: what happened, remedy: what to do next, retry: false}
"""

from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import run_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh import refresh


def main():
    """Run the module."""
    run_module(refresh, required=("production", "source", "protection"))


if __name__ == "__main__":
    main()
