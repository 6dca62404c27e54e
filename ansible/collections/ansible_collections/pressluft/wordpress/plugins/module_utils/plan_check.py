"""Whether a plan may be carried out: the node's own judgement, from its own observation (node-protocol.md)."""

from __future__ import annotations

from ansible_collections.pressluft.wordpress.plugins.module_utils.baseline import name_refresh_within
from ansible_collections.pressluft.wordpress.plugins.module_utils.component import find_component_paths
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import (
    COMPONENT,
    MERGEABLE,
    OPTION,
    OPTIONS_TABLE,
    PROTECTED,
    TABLE,
    make_key,
)

# Whatever a controller sends: these hold what people wrote, under every preset (spec.md §2). A protection that
# arrives empty by mistake must not make them mergeable.
NEVER_REPLACED = frozenset(
    ["posts", "postmeta", "comments", "commentmeta", "users", "usermeta", "terms", "term_taxonomy"]
)


def make_plan(request):
    """The plan of a `stage` request with every list there, sorted."""
    plan = request.get("plan") or {}
    groups = {name: plan.get(name) or {} for name in ("options", "components")}
    return {
        "tables": sorted(plan.get("tables") or ()),
        "options": {what: sorted(groups["options"].get(what) or ()) for what in ("take", "delete")},
        "components": {what: sorted(groups["components"].get(what) or ()) for what in ("take", "delete")},
    }


def list_keys(plan):
    """Every resource that a plan names as `(key, is taken)`."""
    taken = [(make_key(TABLE, name), True) for name in plan["tables"]]
    for kind, group in ((OPTION, plan["options"]), (COMPONENT, plan["components"])):
        taken += [(make_key(kind, name), True) for name in group["take"]]
        taken += [(make_key(kind, name), False) for name in group["delete"]]
    return taken


def check_plan(plan, observation, protection, *, job_id):
    """Refuse a plan that the observation does not allow; `protection` is today's, `job_id` the job's that asks.

    Raises `NodeError`: `DRIFT_GATE_UNMET` when the observation shows drift, `OVERWRITE_BLOCKED` when the plan names
    what is kept, `SOURCE_CHANGED` when it names what the source did not change.
    """
    seen = {make_key(found["kind"], found["name"]): found for found in observation["resources"]}
    _check_drift(observation, seen, job_id)
    for key, is_taken in list_keys(plan):
        _check_resource(key, seen.get(key), protection)
        _check_change(key, seen[key], is_taken)


def _check_drift(observation, seen, job_id):
    """What visitors wrote since this very job refreshed is none: in that moment, production was what was copied.

    A table or folder that came or went meanwhile is no visitor's work.
    """
    if observation["baseline"] is None:
        raise _make_error(
            "DRIFT_GATE_UNMET", "there is no baseline", "Refresh the source from production first."
        )
    has_refreshed = observation["baseline"]["job_id"] == name_refresh_within(job_id)
    for key, found in seen.items():
        sides = found["production"], found["production_baseline"]
        if found["protection"] == PROTECTED and sides[0] != sides[1] and not (has_refreshed and all(sides)):
            raise _make_error(
                "DRIFT_GATE_UNMET", "{0} has drifted".format(key), "Refresh the source, then promote again."
            )
    for difference in observation["schema_differences"]:
        raise _make_error(
            "SCHEMA_UNSUPPORTED",
            "table {table}: {difference}".format(**difference),
            "Bring both sides to the same version of what owns the table.",
        )


def _check_resource(key, found, protection):
    kind, _, name = key.partition(":")
    remedy = "Nothing was changed. A plan may only name mergeable resources (spec.md §2)."
    if found is None:
        raise _make_error("OVERWRITE_BLOCKED", "{0} is not in the observation".format(key), remedy)
    if found["unreadable"]:
        raise _make_error(
            "DRIFT_CHECK_FAILED", "{0} could not be read: {1}".format(key, found["unreadable"]), remedy
        )
    if found["protection"] != MERGEABLE or _is_kept(kind, name, protection):
        raise _make_error(
            "OVERWRITE_BLOCKED", "{0} is kept and must never be overwritten".format(key), remedy
        )


def _is_kept(kind, name, protection):
    if kind == TABLE:
        is_kept = protection.classify_table(name) != MERGEABLE
        return is_kept or name in NEVER_REPLACED or name == OPTIONS_TABLE
    if kind == OPTION:
        return protection.classify_option(name) != MERGEABLE
    try:
        paths = find_component_paths(name)
    except ValueError:
        return True
    return not all(protection.is_code(path) for path in paths)


def _check_change(key, found, is_taken):
    exists = found["source"] is not None
    if exists == is_taken and found["source"] != found["source_baseline"]:
        return
    raise _make_error(
        "SOURCE_CHANGED",
        "the plan would {0} {1}, which the source did not change so".format(
            "take" if is_taken else "delete", key
        ),
        "Check again; the plan must follow from the node's own observation.",
    )


def _make_error(code, message, remedy):
    return NodeError(code, message, remedy)
