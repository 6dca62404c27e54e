#!/usr/bin/python
# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Installs what a node needs of Pressluft's own."""

from __future__ import annotations

DOCUMENTATION = r"""
module: prepare
short_description: Prepare a node
description:
  - Installs C(pressluft-recover), which finishes or reverses a cut-over that was killed half-way, boot included,
    without the controller. With systemd it is enabled and started as a service. Without, the answer says what to run.
  - Run again it changes only what is not as it should be.
version_added: 0.1.0
author: The Pressluft authors (@pressluft)
options:
  state_dir:
    description: The node's own files; the program is put there.
    type: path
    default: /var/lib/pressluft
  config_dir:
    description: Where C(node.ini) is.
    type: path
    default: /etc/pressluft
  service:
    description: Whether to run it as a service of systemd, where systemd runs.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: What would be written is named, and nothing is written.
"""

EXAMPLES = r"""
- name: Prepare the node
  pressluft.wordpress.prepare:
    state_dir: /var/lib/pressluft
    config_dir: /etc/pressluft
"""

RETURN = r"""
pressluft:
  description:
    - C(changed), the paths that were or would be written, and C(recover) with C(program), C(unit), C(command),
      C(running) and C(hint), what to do where there is no systemd.
  returned: success
  type: dict
  sample: {changed: [], recover: {program: /var/lib/pressluft/pressluft-recover.zip, running: true, hint: ""}}
pressluft_error:
  description: Why it failed - C(code), C(message), C(remedy), C(retry).
  returned: failure
  type: dict
  sample: {code: ANSIBLE_HOST_FAILED, message: what happened, remedy: what to do next, retry: false}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import as_node_error
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.prepare import prepare_node

_ARGUMENTS = {
    "state_dir": {"type": "path", "default": "/var/lib/pressluft"},
    "config_dir": {"type": "path", "default": "/etc/pressluft"},
    "service": {"type": "bool", "default": True},
}


def main():
    """Run the module."""
    module = AnsibleModule(argument_spec=_ARGUMENTS, supports_check_mode=True)
    given = module.params
    try:
        done = prepare_node(
            given["state_dir"],
            given["config_dir"],
            service=given["service"],
            check_mode=module.check_mode,
        )
    except (NodeError, OSError) as raised:
        error = as_node_error(raised)
        module.fail_json(msg=error.message, pressluft_error=error.as_result())
    module.exit_json(changed=bool(done["changed"]), pressluft=done)


if __name__ == "__main__":
    main()
