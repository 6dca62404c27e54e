"""A refresh from a production on another node: what is read of it is brought here first, uploads straight to their
place. Everything else is as on one node (`refresh`).
"""

from __future__ import annotations

import os

from ansible_collections.pressluft.wordpress.plugins.module_utils import release
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.refresh_work import find_place
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    OPTIONS_TABLE,
    PATH,
    make_key,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_folder import pull_path
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_mirror import Mirror
from ansible_collections.pressluft.wordpress.plugins.module_utils.stream_peer import open_peer


def open_production(call, stack, writer):
    """The mirror of a production on the other node, which is locked for this step as the source is here."""
    peer = stack.enter_context(open_peer(call, call.production, other=call.source))
    refuse_status(call.production, peer.ask("report")["status"], ("active",))
    return Mirror(peer, writer, local=call.source, call=call)


def fetch(work):
    """Bring here what the refresh reads of production: tables of one moment, and for a fresh copy the code."""
    sizes = work.mirror.open_snapshot()
    wanted = [name for name in sizes if work.is_pulled(name)]
    work.mirror.peer.ask("check_tables", names=wanted)
    work.mirror.fetch_tables(wanted, sizes=sizes, progress=work.progress)
    if OPTIONS_TABLE in sizes and OPTIONS_TABLE not in wanted:
        work.mirror.fetch_options([])
    if work.is_full:
        work.progress.begin("fetch the code from the other node")
        work.mirror.fetch_code([""])
    work.mirror.fetch_paths()
    work.on_step("fetched")


def pull_paths(work, copied):
    """Make every protected path of the source the copy of production's, straight from the other node."""
    for path in work.find_paths():
        place = find_place(work, path)
        *sides, changed = pull_path(work.mirror.peer, path, place)
        if changed and os.path.isdir(place):
            release.sync_tree(place)
        copied.files += changed
        copied.production[make_key(PATH, path)], copied.source[make_key(PATH, path)] = sides


def refuse_status(environment, status, allowed):
    """Refuse an environment whose node says that it is in another state."""
    if status not in allowed:
        raise NodeError(
            "ENVIRONMENT_NOT_ACTIVE",
            "{0} is {1} by the node's own word".format(environment.name, status),
            "Reset it: that finishes or undoes what is half done there.",
        )
