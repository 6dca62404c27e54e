#!/usr/bin/python
# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""What production and source are now, and were when the source was copied."""

from __future__ import annotations

DOCUMENTATION = r"""
module: observe
short_description: Measure what a promotion would touch, on both sides
description:
  - Digests every table, row of C(options), code component and protected folder of a production and of an
    environment that was cloned from it, and sets the digests of the source's baseline beside them.
  - With O(job.epoch) 0 it is a periodic look that nobody claimed. It takes no lock, gives way to every job, and fails
    when one was at work meanwhile.
  - Changes nothing on either site. The observation is kept under the job's folder, so that a plan can name it.
  - O(request) may hold C(baselines), the id that the baseline of each source must have by the controller's word. Any
    other one, however truly sealed, is refused, and nothing is known then.
  - A resource that cannot be read is reported as C(unreadable), never as unchanged.
version_added: 0.1.0
author: The Pressluft authors (@pressluft)
extends_documentation_fragment:
  - pressluft.wordpress.call
attributes:
  check_mode:
    support: full
    description: The same look; the observation is not kept, only what the node remembers of unchanged files.
"""

EXAMPLES = r"""
- name: Observe both sides
  pressluft.wordpress.observe:
    job: "{{ pressluft_job }}"
    settings: "{{ pressluft_settings }}"
    production: "{{ pressluft_production }}"
    source: "{{ pressluft_source }}"
    protection: "{{ pressluft_protection }}"
    request: "{{ pressluft_request }}"
"""

RETURN = r"""
pressluft:
  description: C(observation), what is and was, and C(node), how the environment stands (see node-protocol.md).
  returned: always
  type: dict
  sample:
    observation:
      id: 5f0c
      taken_at: "2026-01-02T03:04:05.000000Z"
      baseline: null
      baseline_refused: ""
      source_fingerprint: 9b1d
      pending_upgrade: null
      schema_differences: []
      source_only: []
      resources:
        - kind: table
          name: posts
          protection: protected
          production: sha256:aa
          production_baseline: null
          source: sha256:bb
          source_baseline: null
          equal: null
          proof: digest
          unreadable: ""
          samples: []
"""

from contextlib import ExitStack, closing

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import find_subject, run_module
from ansible_collections.pressluft.wordpress.plugins.module_utils.baseline import find_expected
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    GLANCE,
    check_rest,
    make_restless,
    open_environment,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_config import read_node_config
from ansible_collections.pressluft.wordpress.plugins.module_utils.observation import observe
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import make_protection
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_peer import open_peer


def observe_sides(call):
    """Observe both sides while no other step of Pressluft changes either."""
    if call.job.epoch == GLANCE:
        return glance_at_sides(call)
    defaults_file = read_node_config(call.config_dir).mysql_defaults_file
    with ExitStack() as stack:
        conn = stack.enter_context(closing(connect(defaults_file)))
        subject, other = list_sides(call)
        here = (subject,) if call.peer else (subject, other)
        states = [
            stack.enter_context(open_environment(call.state_dir, side, job=call.job, conn=conn))
            for side in here
        ]
        peer = stack.enter_context(open_peer(call, other, other=subject)) if call.peer else None
        observation = observe(
            call.production,
            call.source,
            make_protection(call.protection),
            defaults_file=defaults_file,
            state_dir=call.state_dir,
            expected=find_expected(call.request, call.source.id),
            peer=peer,
        )
        if not call.check_mode:
            durable_file.write_json(states[0].journal().make_path("observation.json"), observation)
        return {"observation": observation, "node": states[0].report()}


def glance_at_sides(call):
    """Observe both sides without a claim or a lock: no job ever waits for this, and nothing of it is kept.

    Raises `NodeError` when a job is at work on either side, or was let in meanwhile: then the look is worth nothing.
    """
    subject, other = list_sides(call)
    with ExitStack() as stack:
        peer = stack.enter_context(open_peer(call, other, other=subject)) if call.peer else None

        def read_states():
            there = peer.ask("report") if peer else check_rest(call.state_dir, other)
            return check_rest(call.state_dir, subject), there

        before = read_states()
        observation = observe(
            call.production,
            call.source,
            make_protection(call.protection),
            defaults_file=read_node_config(call.config_dir).mysql_defaults_file,
            state_dir=call.state_dir,
            expected=find_expected(call.request, call.source.id),
            peer=peer,
        )
        if read_states() != before:
            raise make_restless(call.source, "a job was let in during the look")
    return {"observation": observation}


def list_sides(call):
    """The environment that the job is about, and the other side; with `peer`, that one is on the other node."""
    subject = find_subject(call)
    return subject, call.production if subject is call.source else call.source


def main():
    """Run the module."""
    run_module(observe_sides, required=("production", "source", "protection"))


if __name__ == "__main__":
    main()
