#!/usr/bin/python
# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Says what a node lacks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: examine
short_description: Say whether a node has what Pressluft needs
description:
  - Looks at Python, the database server and the rights on it, restic and its storage, WP-CLI, PHP, folders, free room
    and the clock. Takes no lock, changes nothing, binds nothing and never refuses.
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
- name: Look at the node
  pressluft.wordpress.examine:
    job: "{{ pressluft_job }}"
    settings: "{{ pressluft_settings }}"
    request: "{{ pressluft_request }}"
"""

RETURN = r"""
pressluft:
  description:
    - C(examination) with C(findings), each with C(name), C(state) (C(ok), C(warning) or C(missing)), C(detail) and
      C(remedy).
  returned: always
  type: dict
  sample: {examination: {findings: [{name: restic, state: ok, detail: restic 0.14.0, remedy: ""}]}}
"""

from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import run_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.examination import examine


def main():
    """Run the module."""
    run_module(examine)


if __name__ == "__main__":
    main()
