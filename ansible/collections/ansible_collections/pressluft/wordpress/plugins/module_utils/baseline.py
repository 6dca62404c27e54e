"""What production and its copy were in the moment of copying: the memory that drift is told by.

`<state_dir>/<source id>/baseline.json` holds digests, as node-protocol.md describes. What a digest was made of
(manifests, chunks, row hashes) lies beside it in `evidence/<digest>.json`: only for naming what differs, so a
missing one costs samples, never a verdict.

The file carries the seal of this node (`seal`), bound to the source: a baseline that was edited, that another node
wrote or that belongs to another source is refused, and no record in git is ever read as one. An older one that was
put back whole has a true seal; it is told by its id, which the controller knows from the last job that advanced it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from typing import Any, Dict, Iterable, Mapping, Optional

from ansible_collections.pressluft.wordpress.plugins.module_utils import clock, durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    make_environment_folder_path,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import ABSENT, Measure, Measures
from ansible_collections.pressluft.wordpress.plugins.module_utils.seal import check_seal, make_seal

Baseline = Dict[str, Any]

_NONE: Baseline = {}  # by identity: a file that says nothing is broken, not missing


def read_baseline(state_dir: str, source_id: str) -> Optional[Baseline]:
    """Read the baseline of a source, None where there is none yet.

    Raises NodeError (`DRIFT_CHECK_FAILED`) when the file is not what this node wrote for this source, so that an
    edited, torn or foreign one is never compared with.
    """
    path = _make_path(state_dir, source_id)
    try:
        sealed = durable_file.read_json(path, default=_NONE)
        return None if sealed is _NONE else unseal_baseline(state_dir, source_id, sealed)
    except (ValueError, OSError) as error:
        raise _make_broken(path, str(error)) from error


def unseal_baseline(state_dir: str, source_id: str, sealed: Any) -> Baseline:
    """Return what a baseline's file holds. Raises ValueError unless this node wrote it for this source."""
    if not isinstance(sealed, dict):
        raise ValueError("it holds no baseline")
    baseline = {name: value for name, value in sealed.items() if name != "seal"}
    seal = str(sealed.get("seal"))
    check_seal(state_dir, _make_purpose(source_id), _serialise(baseline), seal=seal)
    return baseline


def find_expected(request: Mapping[str, Any], source_id: str) -> str:
    """Return the id that a source's baseline must have by the controller's word; empty where it knows of none."""
    return str((request.get("baselines") or {}).get(source_id) or "")


def find_misfit(baseline: Optional[Baseline], *, production_id: str, expected: str) -> str:
    """Return why a baseline must not be compared with; empty if it may, and where there is none to be had.

    A wrong `expected` can only refuse a baseline, never make one fit.
    """
    if baseline is None:
        return "the baseline of the last refresh is gone from the node" if expected else ""
    if baseline["production_id"] != production_id:
        return "the baseline on the node is of another production"
    if expected and baseline["id"] != expected:
        return (
            "the baseline on the node, of %s, is not the one that the last refresh, promotion or rollback left:"
            " an older one was put back, or git was" % baseline["taken_at"]
        )
    return ""


def make_baseline(
    *, job_id: str, production_id: str, source_id: str, production: Measures, source: Measures
) -> Baseline:
    """Make a baseline from measurements of both sides, keyed `table:posts` (`resource.make_key`).

    Production's must be from the snapshot that was copied, the source's from the copy. A resource that was
    copied without changing (code, a folder) may be measured once and be in both. Raises NodeError
    (`DRIFT_CHECK_FAILED`) when any could not be read.
    """
    empty = {"production_id": production_id, "source_id": source_id, "resources": {}}
    names = {*production, *source}
    return advance_baseline(empty, names, job_id=job_id, production=production, source=source)


def name_refresh_within(job_id: str) -> str:
    """The `job_id` of a baseline that a promotion's own refresh took."""
    return job_id + ":refresh"


def advance_baseline(
    baseline: Mapping[str, Any],
    names: Iterable[str],
    *,
    job_id: str,
    production: Measures,
    source: Measures,
) -> Baseline:
    """Return a baseline in which the named resources (`table:posts`) are as measured; the others stay.

    A named resource without a measurement is absent on that side. Raises NodeError (`DRIFT_CHECK_FAILED`) when
    a named one could not be read.
    """
    resources = dict(baseline["resources"])
    for name in names:
        sides = {"production": production.get(name, ABSENT), "source": source.get(name, ABSENT)}
        resources[name] = {side: _get_digest(name, measure) for side, measure in sides.items()}
        if resources[name] == {"production": None, "source": None}:
            del resources[name]
    advanced = dict(baseline, resources=resources, job_id=job_id, taken_at=clock.read_now())
    return dict(advanced, id=_make_id(advanced))


def write_baseline(
    state_dir: str,
    source_id: str,
    baseline: Baseline,
    *,
    production: Measures,
    source: Optional[Measures] = None,
) -> None:
    """Write a baseline durably, in one step, with the evidence of these measurements beside it.

    The source's tells a later refresh which chunks of the copy are still good. Evidence that neither this baseline
    nor the one it replaces refers to is removed. Raises NodeError (`DRIFT_CHECK_FAILED`) for one that is not as it
    was made: it may have waited in a file.
    """
    if baseline.get("id") != _make_id(baseline):
        raise _make_broken("to be written", "its content does not belong to its id")
    path = _make_path(state_dir, source_id)
    folder = os.path.join(os.path.dirname(path), "evidence")
    durable_file.make_private_folder(folder)
    before = _read_replaced(path)
    # Production's last: of the same digest, it is the one that can name rows.
    for measure in [*(source or {}).values(), *production.values()]:
        if measure.digest and measure.evidence is not None:
            durable_file.write_json(_make_evidence_path(folder, measure.digest), dict(measure.evidence))
    seal = make_seal(state_dir, _make_purpose(source_id), _serialise(baseline))
    durable_file.write_json(path, dict(baseline, seal=seal))
    _remove_unused(folder, [known for known in (before, baseline) if known])


def read_evidence(state_dir: str, source_id: str, digest: str) -> Optional[Dict[str, Any]]:
    """Read what production's digest in the baseline was made of; None where it was not kept."""
    folder = os.path.join(make_environment_folder_path(state_dir, source_id), "evidence")
    try:
        evidence = durable_file.read_json(_make_evidence_path(folder, digest))
    except ValueError:
        return None
    return dict(evidence) if evidence is not None else None


def _read_replaced(path: str) -> Optional[Baseline]:
    """What is replaced is only asked which evidence it uses: a broken one must not stand in a new one's way."""
    try:
        found = durable_file.read_json(path)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("resources"), dict) else None


def _get_digest(name: str, measure: Measure) -> Optional[str]:
    if measure.unreadable:
        raise NodeError(
            "DRIFT_CHECK_FAILED",
            "no baseline can be taken: %s could not be read: %s" % (name, measure.unreadable),
            "Remove the cause and run the job again.",
            retry=True,
        )
    return measure.digest


def _make_id(baseline: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in baseline.items() if name != "id"}
    return hashlib.sha256(_serialise(rest)).hexdigest()


def _serialise(baseline: Mapping[str, Any]) -> bytes:
    return json.dumps(baseline, sort_keys=True, separators=(",", ":")).encode()


def _make_purpose(source_id: str) -> str:
    return "baseline of %s" % source_id


def _make_path(state_dir: str, source_id: str) -> str:
    return os.path.join(make_environment_folder_path(state_dir, source_id), "baseline.json")


def _make_evidence_path(folder: str, digest: str) -> str:
    return os.path.join(folder, "%s.json" % digest.partition(":")[2])


def _remove_unused(folder: str, baselines: Iterable[Baseline]) -> None:
    used = {
        os.path.basename(_make_evidence_path(folder, digest))
        for baseline in baselines
        for sides in baseline["resources"].values()
        for digest in sides.values()
        if digest
    }
    for name in set(os.listdir(folder)) - used:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(folder, name))


def _make_broken(path: str, reason: str) -> NodeError:
    return NodeError(
        "DRIFT_CHECK_FAILED",
        "the baseline %s cannot be trusted: %s" % (path, reason),
        "Refresh the source from production; that takes a new baseline.",
    )
