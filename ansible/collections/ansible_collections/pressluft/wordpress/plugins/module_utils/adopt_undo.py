"""The way back of an adoption: the release that is served becomes the docroot again, with what is shared in it."""

from __future__ import annotations

import os
from dataclasses import replace

from ansible_collections.pressluft.wordpress.plugins.module_utils.adoption import (
    ADOPTED,
    PLAIN,
    UNDOING,
    record_adoption,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.adoption_move import AdoptionMove
from ansible_collections.pressluft.wordpress.plugins.module_utils.adoption_probe import drop_probe
from ansible_collections.pressluft.wordpress.plugins.module_utils.adoption_report import (
    list_way_back,
    make_report,
    refuse_first,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.adoption_survey import survey_release
from ansible_collections.pressluft.wordpress.plugins.module_utils.health import describe_failures, watch_pages
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.place import read_identity
from ansible_collections.pressluft.wordpress.plugins.module_utils.release import read_current
from ansible_collections.pressluft.wordpress.plugins.module_utils.reload import reload_php


def foresee_undo(record, environment):
    """What undoing would do, or what speaks against it. Touches nothing."""
    if record.state == PLAIN:
        return {"adoption": make_report(record, None, is_done=True)}
    adoption, survey = _look(record, environment)
    actions = list_way_back(adoption, survey, others=_find_others(adoption))
    return {"adoption": make_report(adoption, survey, actions=actions)}


def undo(record, environment, *, folder, on_step):
    """Undo an adoption, whole or half done; `record` is its record. Safe to repeat.

    Raises `NodeError`: `SCHEMA_UNSUPPORTED` where it cannot be undone as it is, `HEALTH_CHECK_FAILED` where it was
    undone and the site is not healthy.
    """
    if record.state == PLAIN:  # what PHP remembered may be left, where it could not be reloaded
        AdoptionMove(record, on_step=on_step).clean_up()
        return {"adoption": make_report(record, None, is_done=True)}
    adoption, survey = _look(record, environment)
    if survey is not None:
        refuse_first(survey)
    others = _find_others(adoption)
    adoption = record_adoption(folder, adoption, state=UNDOING)
    on_step("recorded")
    note, health, exchange_ms = bring_back(adoption, environment, on_step=on_step)
    adoption = record_adoption(folder, adoption, state=PLAIN)
    on_step("end recorded")
    report = make_report(adoption, survey, actions=list_way_back(adoption, survey, others=others))
    report.update(exchange_ms=exchange_ms, notes=[note] if note else [])
    if not health["healthy"]:
        raise NodeError(
            "HEALTH_CHECK_FAILED",
            "the docroot is a plain one again, but the site is not healthy: {0}".format(
                describe_failures(health["checks"])
            ),
            "Look at the site and at PHP's error log; nothing of Pressluft's is in the way any more.",
            partial={"adoption": report, "health": health},
        )
    return {"adoption": report, "health": health}


def bring_back(adoption, environment, *, on_step):
    """Make the docroot plain again, let PHP forget the release, and clean up.

    Returns `(note, health, exchange_ms)`.
    """
    move = AdoptionMove(adoption, on_step=on_step)
    drop_probe(adoption)
    move.go_back()
    problem = reload(environment)
    on_step("php reloaded")
    health = watch_pages(environment)
    if not problem:
        move.clean_up()
        return "", health, move.exchange_ms
    note = (
        "{0}: reload PHP, then run the same command again, which removes what PHP may still look for".format(
            problem
        )
    )
    return note, health, move.exchange_ms


def reload(environment):
    """Reload PHP, so that no worker remembers where files lay; returns what went wrong, empty for nothing."""
    if not environment.fpm_service:
        return "PHP was not reloaded, since the environment has no php.fpm_service"
    return reload_php(environment.fpm_service)


def _look(record, environment):
    """The adoption to undo, and the survey of the release that is served; None where it is half done already."""
    if record.state != ADOPTED:
        return record, None
    release = read_current(environment.root)
    place = os.path.join(record.root, "releases", release)
    survey = survey_release(place, record.root, record.docroot)
    if os.path.realpath(record.docroot) != place:
        survey.refuse(
            "{0} does not lead to {1} any more".format(record.docroot, place),
            "Make it a link to {0} again (ln -sfn), then try again.".format(record.current),
        )
    fields = {"release": release, "tree": read_identity(place), "shared": tuple(sorted(survey.shared))}
    return replace(record, **fields), survey


def _find_others(adoption):
    releases = os.path.join(adoption.root, "releases")
    if not os.path.isdir(releases):
        return []
    return [
        name for name in sorted(os.listdir(releases)) if name != adoption.release and not name.startswith(".")
    ]
