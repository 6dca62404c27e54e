#!/usr/bin/python
# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Brings the release and tables back that the last promotion replaced."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollback
short_description: Roll back the last promotion
description:
  - Exchanges the kept old tables and release with the live ones, the same way as a cut-over, health check included.
  - Refused when production wrote to what was promoted, unless C(request.overwrite) names it.
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
- name: Roll back
  pressluft.wordpress.rollback:
    job: "{{ pressluft_job }}"
    settings: "{{ pressluft_settings }}"
    environment: "{{ pressluft_environment }}"
    request: "{{ pressluft_request }}"
"""

RETURN = r"""
pressluft:
  description:
    - C(cut_over) and C(health), as of M(pressluft.wordpress.cut_over).
  returned: always
  type: dict
  sample: {cut_over: {rename_ms: 9.1, gap_ms: 0.3}, health: {healthy: true}}
pressluft_error:
  description: Why it failed - C(code), C(message), C(remedy), C(retry).
  returned: failure
  type: dict
  sample: {code: OVERWRITE_BLOCKED, message: what happened, remedy: what to do next, retry: false}
"""

from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import run_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.rollback import roll_back


def main():
    """Run the module."""
    run_module(roll_back)


if __name__ == "__main__":
    main()
