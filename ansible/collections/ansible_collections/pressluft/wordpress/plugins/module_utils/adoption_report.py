"""What `pressluft adopt` tells: each thing that is moved, linked, made or left, and every reason against it."""

from __future__ import annotations

import os

from ansible_collections.pressluft.wordpress.plugins.module_utils.adoption_survey import show
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

MAKE, MOVE, LINK, LEAVE, REMOVE = "make", "move", "link", "leave", "remove"


def make_report(adoption, survey, *, actions=(), is_done=False):
    """The result's `adoption` (node-protocol.md). `survey` None: what is there was not looked at anew."""
    return {
        "state": adoption.state,
        "docroot": adoption.docroot,
        "root": adoption.root,
        "release": adoption.release,
        "is_done": is_done,
        "actions": list(actions),
        "refused": [{"what": one.what, "remedy": one.remedy} for one in survey.refusals] if survey else [],
        "notes": list(survey.notes) if survey else [],
        "exchange_ms": None,
    }


def list_way_there(adoption, survey):
    """What adopting does, in its order. `survey` None: sizes are not known."""
    actions = [_act(MAKE, path) for path in adoption.made]
    actions.append(_act(MOVE, adoption.docroot, adoption.place, _find_size(survey, "")))
    actions.append(_act(LINK, adoption.current, adoption.place))
    actions.append(_act(LINK, adoption.docroot, adoption.current))
    for path in adoption.shared:
        inner, outer = adoption.find_release_path(path), adoption.find_shared_path(path)
        actions.append(_act(MOVE, inner, outer, _find_size(survey, path)))
        actions.append(_act(LINK, inner, outer))
    left = survey.left if survey else ()
    return actions + [dict(_act(LEAVE, adoption.find_release_path(path)), why=why) for path, why in left]


def list_way_back(adoption, survey, *, others=()):
    """What undoing does, in its order; `others` are the releases that stay where they are."""
    actions = [
        _act(
            MOVE,
            adoption.find_shared_path(path),
            adoption.find_release_path(path),
            _find_size(survey, path),
        )
        for path in adoption.shared
    ]
    actions.append(_act(MOVE, adoption.place, adoption.docroot, _find_size(survey, "")))
    actions.append(_act(REMOVE, adoption.current))
    releases = os.path.join(adoption.root, "releases")
    why = "a release that is not served; remove it once you are sure"
    for path, reason in survey.left if survey else ():
        actions.append(dict(_act(LEAVE, adoption.find_shared_path(path)), why=reason))
    return actions + [dict(_act(LEAVE, os.path.join(releases, name)), why=why) for name in others]


def refuse_first(survey):
    """Raise the first reason against it as `NodeError`, with the number of others."""
    if not survey.refusals:
        return
    first, *others = survey.refusals
    more = " (and {0} more: see --dry-run)".format(len(others)) if others else ""
    raise NodeError("SCHEMA_UNSUPPORTED", first.what + more, first.remedy)


def _act(kind, path, to="", size=(None, None)):
    return {"do": kind, "path": show(path), "to": show(to), "files": size[0], "bytes": size[1], "why": ""}


def _find_size(survey, path):
    return survey.sizes.get(path, (None, None)) if survey else (None, None)
