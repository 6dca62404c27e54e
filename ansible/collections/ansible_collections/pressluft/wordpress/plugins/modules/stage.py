#!/usr/bin/python
# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Puts together what a promotion brings, beside what is live."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stage
short_description: Stage a promotion
description:
  - Fills a shadow database and a new release folder with what the plan takes from the source, rewritten to production's
    addresses. Nothing live changes, and a failure leaves nothing behind.
  - Refuses a plan that names what is kept, or that does not follow from the node's own observation.
  - A second run of the same request finds the first one's work.
version_added: 0.1.0
author: The Pressluft authors (@pressluft)
extends_documentation_fragment:
  - pressluft.wordpress.call
attributes:
  check_mode:
    support: full
    description: Everything is checked and nothing is copied.
"""

EXAMPLES = r"""
- name: Stage what the check allowed
  pressluft.wordpress.stage:
    job: "{{ pressluft_job }}"
    settings: "{{ pressluft_settings }}"
    production: "{{ pressluft_production }}"
    source: "{{ pressluft_source }}"
    protection: "{{ pressluft_protection }}"
    request: "{{ pressluft_request }}"
"""

RETURN = r"""
pressluft:
  description:
    - C(staged) with C(tables), C(rows), C(bytes), C(options), C(components), C(release) and C(left_alone), the values
      that hold an old address and could not be rewritten.
  returned: always
  type: dict
  sample: {staged: {tables: 2, rows: 17, bytes: 4711, options: 1, components: 1, left_alone: []}}
pressluft_error:
  description: Why it failed - C(code), C(message), C(remedy), C(retry).
  returned: failure
  type: dict
  sample: {code: SOURCE_CHANGED, message: what happened, remedy: what to do next, retry: false}
"""

from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import run_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.stage import stage


def main():
    """Run the module."""
    run_module(stage, required=("production", "source", "protection"))


if __name__ == "__main__":
    main()
