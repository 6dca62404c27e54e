# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Runs the module `stage`, joined to the other node where there is one."""

from __future__ import annotations

from ansible_collections.pressluft.wordpress.plugins.plugin_utils.bridged_action import BridgedAction


class ActionModule(BridgedAction):
    """See `bridged_action`."""

    watched = "production"
