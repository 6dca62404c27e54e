#!/usr/bin/python
# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Drops what a promotion staged."""

from __future__ import annotations

DOCUMENTATION = r"""
module: discard
short_description: Discard what a promotion staged
description:
  - Drops this job's shadow database and release folder. Refused once its cut-over has started.
version_added: 0.1.0
author: The Pressluft authors (@pressluft)
extends_documentation_fragment:
  - pressluft.wordpress.call
attributes:
  check_mode:
    support: full
    description: Nothing is dropped.
"""

EXAMPLES = r"""
- name: Discard what was staged
  pressluft.wordpress.discard:
    job: "{{ pressluft_job }}"
    settings: "{{ pressluft_settings }}"
    production: "{{ pressluft_production }}"
"""

RETURN = r"""
pressluft:
  description:
    - C(node), how the environment stands.
  returned: always
  type: dict
  sample: {node: {status: active, cut: null}}
pressluft_error:
  description: Why it failed - C(code), C(message), C(remedy), C(retry).
  returned: failure
  type: dict
  sample: {code: ANSIBLE_HOST_FAILED, message: what happened, remedy: what to do next, retry: false}
"""

from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import run_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.stage import discard


def main():
    """Run the module."""
    run_module(discard, required=("production",))


if __name__ == "__main__":
    main()
