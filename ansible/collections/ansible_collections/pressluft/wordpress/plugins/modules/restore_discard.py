#!/usr/bin/python
# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Drop what a restore staged."""

from __future__ import annotations

DOCUMENTATION = r"""
module: restore_discard
short_description: Drop what a restore staged
description:
  - Drops the shadow database, the release and the folders of a restore that did not go live.
  - Refused once the cut-over has started.
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
- name: Drop what a restore staged
  pressluft.wordpress.restore_discard:
    job: "{{ pressluft_job }}"
    settings: "{{ pressluft_settings }}"
    environment: "{{ pressluft_environment }}"
    protection: "{{ pressluft_protection }}"
"""

RETURN = r"""
pressluft:
  description:
    - C(node), how the environment stands.
  returned: always
  type: dict
  sample: {node: {status: active}}
pressluft_error:
  description: Why it failed - C(code), C(message), C(remedy), C(retry).
  returned: failure
  type: dict
  sample: {code: BACKUP_INVALID, message: what happened, remedy: what to do next, retry: false}
"""

from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import run_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.restore import discard_restore


def main():
    """Run the module."""
    run_module(discard_restore, required=("environment",))


if __name__ == "__main__":
    main()
