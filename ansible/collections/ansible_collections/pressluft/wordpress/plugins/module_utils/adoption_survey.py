"""A look at a plain docroot: what of it would be shared, how much there is, and what speaks against adopting it.

Reads only. Every refusal is found before anything is moved, and a dry run names all of them.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Dict, List, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.adoption import UPLOADS
from ansible_collections.pressluft.wordpress.plugins.module_utils.held_folder import HeldFolder
from ansible_collections.pressluft.wordpress.plugins.module_utils.identity import is_within, read_roots
from ansible_collections.pressluft.wordpress.plugins.module_utils.measure import find_protected_paths
from ansible_collections.pressluft.wordpress.plugins.module_utils.place import (
    find_mount,
    find_mount_above,
)

LEAST_FREE_BYTES = 32 << 20
_WORDPRESS = ("index.php", "wp-load.php", "wp-settings.php", "wp-includes/version.php", "wp-admin")
_CONFIG = "wp-config.php"
# What every wp-config.php says of its own place, which WordPress has settled before it reads that file.
_HARMLESS = re.compile(
    rb"define\(\s*['\"]ABSPATH['\"]\s*,\s*(?:__DIR__|dirname\(\s*__FILE__\s*\))\s*\.\s*['\"]/['\"]\s*\)"
    rb"|require_once\s*\(?\s*ABSPATH\s*\.\s*['\"]/?wp-settings\.php['\"]\s*\)?"
)
_OWN_PLACE = re.compile(rb"__DIR__|__FILE__|\b(?:include|require)(?:_once)?\b|\bgetcwd\b", re.IGNORECASE)
_MOST_NAMED = 5
_TOP = "/\0"  # stands for the docroot: no link can name it, so none comes back to it from outside


@dataclass(frozen=True)
class Refusal:
    """Why a docroot cannot be adopted as it is, and what to do about it."""

    what: str
    remedy: str


@dataclass
class Survey:
    """What was found; `sizes` are `(files, bytes)` of each shared path, and of all the rest under the empty path."""

    shared: List[str] = field(default_factory=list)
    left: List[Tuple[str, str]] = field(default_factory=list)
    sizes: Dict[str, Tuple[int, int]] = field(default_factory=dict)
    notes: List[str] = field(default_factory=list)
    refusals: List[Refusal] = field(default_factory=list)

    def refuse(self, what, remedy):
        """Note one more reason against it."""
        self.refusals.append(Refusal(what, remedy))


def survey_docroot(docroot, root, *, protection, environment_id, state_dir):
    """Look at a docroot that would become a release in `root`; both are real paths. Returns a `Survey`."""
    survey = Survey()
    _check_places(survey, docroot, root, environment_id=environment_id, state_dir=state_dir)
    if survey.refusals:
        return survey
    _check_mounts(survey, docroot, root)
    _check_wordpress(survey, docroot)
    _check_room(survey, root)
    if not survey.refusals:
        _find_shared(survey, docroot, root, protection)
        _scan(survey, docroot)
    return survey


def find_existing(path):
    """The path itself, or the nearest folder above it that is there."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def looks_at_its_place(content):
    """Whether a PHP file asks where it lies, or reads files beside it: then it must not be moved."""
    return _OWN_PLACE.search(_HARMLESS.sub(b"", content)) is not None


def survey_release(place, root, docroot):
    """Look at the release that is served and would become the docroot again. Returns a `Survey`.

    What it shares is told by its links: each that leads to its own path in `<root>/shared`.
    """
    survey, store = Survey(), os.path.join(root, "shared")
    odd, count = [], [0, 0]
    for path, _unit, entry in _walk(place, ()):
        if entry.is_symlink():
            aim = os.readlink(entry.path)
            leads_to = os.path.normpath(os.path.join(place, os.path.dirname(path), aim))
            if leads_to == os.path.join(store, path) and os.path.lexists(leads_to):
                survey.shared.append(path)
            elif is_within(leads_to, root) if os.path.isabs(aim) else _leads_out(path, "", aim):
                odd.append(path)
        else:
            _count(count, entry)
    survey.sizes[""] = count[0], count[1]
    for path in survey.shared:
        survey.sizes[path] = _measure_shared(os.path.join(store, path), path, odd)
    survey.left += [
        (path, "no link of the release leads there") for path in _find_unused(store, survey.shared)
    ]
    _refuse_odd(survey, odd)
    mounts = find_mount([place, *(os.path.join(store, path) for path in survey.shared)])
    if mounts or find_mount_above(os.path.dirname(docroot)) != find_mount_above(place):
        survey.refuse(
            "{0} is on another file system than {1}".format(mounts or place, docroot),
            "Unmount it; what is moved must be on the file system of the docroot.",
        )
    return survey


def show(path):
    """A path as text that JSON can hold."""
    return os.fsencode(path).decode("utf-8", "replace")


def _check_places(survey, docroot, root, *, environment_id, state_dir):
    own = [os.path.join(root, name) for name in ("releases", "shared", "current")]
    if is_within(root, docroot):
        survey.refuse(
            "the environment's root {0} is the docroot {1} itself, or lies in it".format(root, docroot),
            "Let spec.root name a new folder beside it, on the same file system: all of root would be on the web.",
        )
    elif any(is_within(docroot, path) for path in own):
        survey.refuse(
            "{0} lies in a folder that Pressluft keeps for itself".format(docroot),
            "Give the folder that the web server serves.",
        )
    for taken in [*read_roots(state_dir, but=environment_id), os.path.realpath(state_dir)]:
        if is_within(docroot, taken) or is_within(taken, docroot):
            survey.refuse(
                "{0} overlaps {1}, which belongs to another environment or to Pressluft".format(
                    docroot, taken
                ),
                "Give this environment's own docroot.",
            )
    if os.path.islink(docroot):
        survey.refuse(
            "{0} is a link to {1}".format(docroot, os.path.realpath(docroot)),
            "Give the folder that it leads to; the link may stay.",
        )
    elif not os.path.isdir(docroot):
        survey.refuse("there is no folder {0}".format(docroot), "Give the folder that the web server serves.")
    for name in ("current", "releases", "shared"):
        path = os.path.join(root, name)
        if os.path.lexists(path) and (not os.path.isdir(path) or os.path.islink(path)):
            survey.refuse(
                "{0} is there already".format(path),
                "If it serves this site, it is adopted already; else remove it, or choose another root.",
            )


def _check_mounts(survey, docroot, root):
    mount = find_mount([docroot])
    if mount:
        survey.refuse(
            "{0} is a mount point".format(mount),
            "Mount it somewhere else and let a link in the docroot lead there; it cannot be moved in one step.",
        )
        return
    ours, theirs = find_mount_above(docroot), find_mount_above(find_existing(root))
    if ours != theirs:
        survey.refuse(
            "{0} is on {1}, and the root {2} on {3}: nothing can be moved between them in one step".format(
                docroot, ours, root, theirs
            ),
            "Let spec.root name a folder on the file system of the docroot.",
        )


def _check_wordpress(survey, docroot):
    missing = [name for name in _WORDPRESS if not os.path.exists(os.path.join(docroot, name))]
    if missing:
        survey.refuse(
            "{0} is not the folder of a WordPress: it has no {1}".format(docroot, ", ".join(missing)),
            "Give the folder that holds wp-load.php; a WordPress in a folder below its docroot is not supported.",
        )
        return
    above = os.path.join(os.path.dirname(docroot), _CONFIG)
    if not os.path.exists(os.path.join(docroot, _CONFIG)):
        hint = "Move {0} into the docroot, where WordPress looks first".format(above)
        survey.refuse(
            "{0} has no {1}".format(docroot, _CONFIG),
            "{0}, then try again.".format(hint if os.path.exists(above) else "Install WordPress first"),
        )
    if os.path.exists(os.path.join(docroot, ".maintenance")):
        survey.refuse(
            "WordPress is just being updated: there is {0}/.maintenance".format(docroot),
            "Wait for the update, or remove the file if none runs.",
        )


def _check_room(survey, root):
    """Nothing is copied: links, folders and the record are all that is written."""
    folder = find_existing(root)
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if free < LEAST_FREE_BYTES or (found.f_files and not found.f_favail):
        survey.refuse(
            "{0} has {1} MiB free, and {2} are wanted".format(folder, free >> 20, LEAST_FREE_BYTES >> 20),
            "Make room; nothing is copied, but links, folders and the journal must find some.",
        )


def _find_shared(survey, docroot, root, protection):
    """Decide for each protected path and preserved file whether it goes to `shared`."""
    site = SimpleNamespace(current=docroot)
    protected = find_protected_paths(site, protection.protected_paths)
    outermost = [
        path for path in protected if not any(is_within(path, other) for other in protected if other != path)
    ]
    with HeldFolder(docroot) as tree:
        for path in outermost:
            _judge_protected(survey, tree, path, docroot=docroot)
        for path in find_protected_paths(site, protection.preserved_files):
            if not any(is_within(path, other) for other in outermost):
                _judge_preserved(survey, tree, path)
    for path in survey.shared:
        if os.path.lexists(os.path.join(root, "shared", path)):
            survey.refuse(
                "{0}/shared/{1} is there already".format(root, path),
                "If it is needed, save it; then remove it, and try again.",
            )


def _judge_protected(survey, tree, path, *, docroot):
    found = _look(survey, tree, path)
    if found is None:
        if path == UPLOADS:
            survey.shared.append(path)
        else:
            survey.left.append((path, "not there: once it is, it must be a link to a folder in shared"))
    elif not stat.S_ISLNK(found.st_mode):
        survey.shared.append(path)
    else:
        aim = os.path.realpath(os.path.join(docroot, path))
        if not os.path.exists(aim) or is_within(aim, docroot):
            survey.refuse(
                "the protected path {0} is a link that leads {1}".format(
                    path, "to {0}, in the docroot".format(aim) if os.path.exists(aim) else "nowhere"
                ),
                "Put the folder itself there, or let the link lead out of the docroot by an absolute path.",
            )
        else:
            survey.left.append((path, "it is a link to {0}".format(aim)))


def _judge_preserved(survey, tree, path):
    """Preserved files may as well stay: each release gets a copy of them as they are at the cut-over."""
    found = _look(survey, tree, path)
    if found is None or not stat.S_ISREG(found.st_mode):
        return
    with os.fdopen(tree.open_file(path), "rb") as stream:
        if path.endswith(".php") and looks_at_its_place(stream.read()):
            survey.left.append((path, "it reads files beside it, or asks where it lies"))
        else:
            survey.shared.append(path)


def _look(survey, tree, path):
    try:
        return tree.lstat(path)
    except OSError:
        survey.refuse(
            "{0} lies behind a link in the docroot".format(path),
            "Put the folder itself into the docroot, or leave the path out of protect.paths.",
        )
        return None


def _scan(survey, docroot):
    """Count, and find links that would lead elsewhere once they are moved."""
    sizes = {unit: [0, 0] for unit in ["", *survey.shared]}
    odd, absolute = [], []
    for path, unit, entry in _walk(docroot, survey.shared):
        if entry.is_symlink():
            aim = os.readlink(entry.path)
            if os.path.isabs(aim):
                absolute += [path] if is_within(os.path.normpath(aim), docroot) else []
            elif _leads_out(path, unit, aim):
                odd.append(path)
        else:
            _count(sizes[unit], entry)
    survey.sizes.update({unit: (files, size) for unit, (files, size) in sizes.items()})
    _refuse_odd(survey, odd)
    for path in absolute[:_MOST_NAMED]:
        survey.notes.append(
            "the link {0} leads into the docroot by an absolute path: it goes on to work here, but in a copy of the"
            " site it would lead to this one ({1} such links)".format(show(path), len(absolute))
        )


def _find_unused(store, shared):
    """What lies in `shared` and is none of these paths; of a folder that is all unused its name alone."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        for name in sorted(os.listdir(os.path.join(store, folder))):
            path = os.path.join(folder, name)
            if any(is_within(used, path) for used in shared if used != path):
                waiting.append(path)
            elif path not in shared:
                yield path


def _refuse_odd(survey, odd):
    for path in odd[:_MOST_NAMED]:
        survey.refuse(
            "the link {0} would lead somewhere else once it is moved".format(show(path)),
            "Let it lead to what it means by an absolute path, or remove it ({0} such links).".format(
                len(odd)
            ),
        )


def _measure_shared(place, path, odd):
    """Files and bytes of one shared path; links in it that lead out of it by a relative path are added to `odd`."""
    count = [0, 0]
    if not os.path.isdir(place):
        return 1, os.lstat(place).st_size
    for below, _unit, entry in _walk(place, ()):
        if not entry.is_symlink():
            _count(count, entry)
        elif not os.path.isabs(os.readlink(entry.path)) and _leads_out(below, "", os.readlink(entry.path)):
            odd.append(os.path.join(path, below))
    return count[0], count[1]


def _count(count, entry):
    if entry.is_file(follow_symlinks=False):
        count[0] += 1
        count[1] += entry.stat(follow_symlinks=False).st_size


def _leads_out(path, unit, aim):
    """Whether a relative link leaves what is moved as one piece. By its text: what it passes through moves along."""
    leads_to = os.path.normpath(os.path.join(_TOP, os.path.dirname(path), aim))
    return not is_within(leads_to, os.path.join(_TOP, unit).rstrip("/"))


def _walk(tree, shared):
    """Everything below a folder as `(path, unit, DirEntry)`, links not followed."""
    waiting = [("", "")]
    while waiting:
        folder, unit = waiting.pop()
        with os.scandir(os.path.join(tree, folder)) as listing:
            for entry in listing:
                path = os.path.join(folder, entry.name)
                inside = unit or (path if path in shared else "")
                yield path, inside, entry
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((path, inside))
