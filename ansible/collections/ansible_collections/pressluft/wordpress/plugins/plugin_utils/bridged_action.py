# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Runs a module of this collection, joined to the other node where its option `peer` names one."""

from __future__ import annotations

import contextlib
import os
from datetime import datetime, timezone

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.pressluft.wordpress.plugins.plugin_utils.bridge import (
    Bridge,
    BridgeFailed,
    make_here,
    make_ssh_options,
    make_there,
)
from ansible_collections.pressluft.wordpress.plugins.plugin_utils.overheard import Listener, make_path


class BridgedAction(ActionBase):
    """Without `peer` nothing but the module; with it, `stream` in the result counts the bytes that passed."""

    watched = None
    """The option that names the environment in whose folder the module keeps how far it is, if it does."""

    def run(self, tmp=None, task_vars=None):
        """Run the module."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        peer = arguments.get("peer")
        here = make_here(task_vars, is_local=self._connection.transport == "local")
        if not peer:
            return self._run_module(here, arguments, task_vars)
        try:
            bridge = Bridge(here, make_there(peer), ssh_options=make_ssh_options(os.environ))
        except (BridgeFailed, OSError) as error:
            return _make_unreachable(error)
        with contextlib.closing(bridge):
            arguments.update(peer=dict(peer, socket=bridge.socket), settings=_renew_time(arguments))
            result = self._run_module(here, arguments, task_vars)
        if isinstance(result.get("pressluft"), dict):
            result["pressluft"]["stream"] = {"sent": bridge.sent, "received": bridge.received}
        return result

    def _run_module(self, here, arguments, task_vars):
        """Run the module, and tell how far it is where it keeps that."""
        if self.watched is None or self._task.check_mode:
            return self._execute_module(module_args=arguments, task_vars=task_vars)
        path = make_path(arguments.get("settings") or {}, arguments["job"], arguments[self.watched])
        listener = Listener(
            here,
            path,
            job=arguments["job"],
            ssh_options=make_ssh_options(os.environ),
            tell=Display().display,
        )
        with contextlib.closing(listener):
            return self._execute_module(module_args=arguments, task_vars=task_vars)


def _renew_time(arguments):
    """The settings with the time of now: logging in twice must not look like a clock that is off."""
    settings = dict(arguments.get("settings") or {})
    if settings.get("controller_time"):
        settings["controller_time"] = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return settings


def _make_unreachable(error):
    message = "two nodes take part, and they could not be joined: {0}".format(error)
    remedy = "See that the controller reaches that node over SSH; the job is tried again by itself."
    return {
        "failed": True,
        "msg": message,
        "pressluft": {},
        "pressluft_error": {
            "code": "ANSIBLE_HOST_UNREACHABLE",
            "message": message,
            "remedy": remedy,
            "retry": True,
        },
    }
