#!/usr/bin/python
# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Brings a failed environment back to active, if it proves that it may be."""

from __future__ import annotations

DOCUMENTATION = r"""
module: reset
short_description: Reset a failed environment
description:
  - Finishes or undoes what an earlier job left half done, proves that tables and code are one release, and checks the
    health; only then the environment is active again by the node's own word.
version_added: 0.1.0
author: The Pressluft authors (@pressluft)
extends_documentation_fragment:
  - pressluft.wordpress.call
attributes:
  check_mode:
    support: full
    description: Only whether the environment would be active.
"""

EXAMPLES = r"""
- name: Reset the environment
  pressluft.wordpress.reset:
    job: "{{ pressluft_job }}"
    settings: "{{ pressluft_settings }}"
    environment: "{{ pressluft_environment }}"
"""

RETURN = r"""
pressluft:
  description:
    - C(reset) with the jobs that were C(resumed) and the C(release) that is served, and C(health).
  returned: always
  type: dict
  sample: {reset: {resumed: [], release: first}, health: {healthy: true, checks: []}}
pressluft_error:
  description: Why it failed - C(code), C(message), C(remedy), C(retry).
  returned: failure
  type: dict
  sample: {code: HEALTH_CHECK_FAILED, message: what happened, remedy: what to do next, retry: false}
"""

from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import run_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.reset import reset


def main():
    """Run the module."""
    run_module(reset)


if __name__ == "__main__":
    main()
