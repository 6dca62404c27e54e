#!/usr/bin/python
# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Put a backup together beside what is live."""

from __future__ import annotations

DOCUMENTATION = r"""
module: restore_stage
short_description: Put a backup together beside what is live
description:
  - Loads the tables of a backup into a shadow database and proves by their digests that they are those that were
    stored. Puts its files into a new release, and beside their places what no release owns, such as uploads.
  - Nothing live changes. M(pressluft.wordpress.cut_over) makes it live, or takes it back.
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
- name: Put a backup together beside what is live
  pressluft.wordpress.restore_stage:
    job: "{{ pressluft_job }}"
    settings: "{{ pressluft_settings }}"
    environment: "{{ pressluft_environment }}"
    protection: "{{ pressluft_protection }}"
    request: "{{ pressluft_request }}"
"""

RETURN = r"""
pressluft:
  description:
    - C(staged) with C(snapshot_id), C(tables), C(places) and C(release), and C(node), how the environment stands.
  returned: always
  type: dict
  sample: {staged: {tables: 12, places: [/srv/www/shop/shared]}}
pressluft_error:
  description: Why it failed - C(code), C(message), C(remedy), C(retry).
  returned: failure
  type: dict
  sample: {code: BACKUP_INVALID, message: what happened, remedy: what to do next, retry: false}
"""

from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import run_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.restore import stage_restore


def main():
    """Run the module."""
    run_module(stage_restore, required=("environment",))


if __name__ == "__main__":
    main()
