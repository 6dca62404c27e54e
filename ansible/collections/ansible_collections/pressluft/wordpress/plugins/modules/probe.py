#!/usr/bin/python
# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Where a job stands by the node's own files."""

from __future__ import annotations

DOCUMENTATION = r"""
module: probe
short_description: Say where a job stands on this node
description:
  - Reads the environment's state and the job's journal. Takes no lock, changes nothing and never refuses, so that a
    controller that lost a run can find out what became of it.
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
- name: Ask where the job stands
  pressluft.wordpress.probe:
    job: "{{ pressluft_job }}"
    settings: "{{ pressluft_settings }}"
    production: "{{ pressluft_production }}"
"""

RETURN = r"""
pressluft:
  description:
    - C(node), how the environment stands, and C(job), what the journal says of the job - C(finished), C(cut),
      C(running), C(result), C(error).
  returned: always
  type: dict
  sample: {job: {cut: switched, error: null, finished: false, result: null, running: true}}
"""

from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import find_subject, run_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    make_environment_folder_path,
    make_job_word,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError


def probe(call):
    """Look at the job's journal."""
    subject = find_subject(call)
    if subject is None:
        raise NodeError("INTENT_INVALID", "no environment to look at", "Give the job's environment.")
    return {"job": make_job_word(make_environment_folder_path(call.state_dir, subject.id), call.job.id)}


def main():
    """Run the module."""
    run_module(probe)


if __name__ == "__main__":
    main()
