#!/usr/bin/python
# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Makes a staged promotion live, or takes it back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cut_over
short_description: Cut over to what was staged
description:
  - Starts one detached program that exchanges tables and release, checks the site's health and takes everything back
    where it is not healthy, and waits for its end. Losing the connection loses nothing.
  - Run again it finds the program, or goes on from where a killed one left off, or returns how the job ended.
version_added: 0.1.0
author: The Pressluft authors (@pressluft)
extends_documentation_fragment:
  - pressluft.wordpress.call
attributes:
  check_mode:
    support: full
    description: Nothing is started.
"""

EXAMPLES = r"""
- name: Cut over
  pressluft.wordpress.cut_over:
    job: "{{ pressluft_job }}"
    settings: "{{ pressluft_settings }}"
    production: "{{ pressluft_production }}"
    request: "{{ pressluft_request }}"
"""

RETURN = r"""
pressluft:
  description:
    - C(cut_over) with C(rename_ms), C(gap_ms), C(carried_options), C(late_writes) and C(saved), and C(health).
  returned: always
  type: dict
  sample: {cut_over: {rename_ms: 12.5, gap_ms: 0.3, carried_options: 1, late_writes: [], saved: []}}
pressluft_error:
  description: Why it failed - C(code), C(message), C(remedy), C(retry).
  returned: failure
  type: dict
  sample: {code: HEALTH_CHECK_FAILED, message: what happened, remedy: what to do next, retry: false}
"""

from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import run_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.cut_over import cut_over


def main():
    """Run the module."""
    run_module(cut_over)


if __name__ == "__main__":
    main()
