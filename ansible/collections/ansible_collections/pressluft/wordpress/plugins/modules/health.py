#!/usr/bin/python
# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Says whether an environment is healthy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health
short_description: Check an environment's health
description:
  - Asks the site's addresses, its database and WordPress itself, from the node and past every cache.
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
- name: Check the health
  pressluft.wordpress.health:
    job: "{{ pressluft_job }}"
    settings: "{{ pressluft_settings }}"
    environment: "{{ pressluft_environment }}"
"""

RETURN = r"""
pressluft:
  description:
    - C(health) with C(healthy) and C(checks), each with C(name), C(ok) and C(detail).
  returned: always
  type: dict
  sample: {health: {healthy: true, checks: []}}
pressluft_error:
  description: Why it failed - C(code), C(message), C(remedy), C(retry).
  returned: failure
  type: dict
  sample: {code: IDENTITY_MISMATCH, message: what happened, remedy: what to do next, retry: false}
"""

from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import run_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.health_check import report_health


def main():
    """Run the module."""
    run_module(report_health)


if __name__ == "__main__":
    main()
