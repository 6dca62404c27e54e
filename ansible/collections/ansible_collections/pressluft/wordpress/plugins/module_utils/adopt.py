"""`pressluft adopt`: a plain docroot becomes the first release of an environment, and back (ADR 0017).

    looked at -> healthy -> recorded -> asked through a link -> exchanged -> shared -> PHP reloaded -> healthy
                                                                                        \\-> all of it undone

The docroot's path serves the site at every instant: before, while and after it is moved.
"""

from __future__ import annotations

import os

from ansible_collections.pressluft.wordpress.plugins.module_utils.adopt_undo import (
    bring_back,
    foresee_undo,
    reload,
    undo,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.adoption import (
    ADOPTED,
    ADOPTING,
    PLAIN,
    UNDOING,
    Adoption,
    read_adoption,
    record_adoption,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.adoption_move import AdoptionMove
from ansible_collections.pressluft.wordpress.plugins.module_utils.adoption_probe import (
    ask_through_link,
    drop_probe,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.adoption_report import (
    list_way_there,
    make_report,
    refuse_first,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.adoption_survey import survey_docroot
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    make_environment_folder_path,
    make_job_folder_path,
    open_environment,
    read_finished,
    read_state,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment_lock import read_holder
from ansible_collections.pressluft.wordpress.plugins.module_utils.health import describe_failures, watch_pages
from ansible_collections.pressluft.wordpress.plugins.module_utils.held_folder import find_trusted
from ansible_collections.pressluft.wordpress.plugins.module_utils.journal import (
    ENDED_CUTS,
    STAGED,
    read_journal,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.place import read_identity
from ansible_collections.pressluft.wordpress.plugins.module_utils.resource import make_protection


def adopt(call, *, on_step=None):
    """Carry out the request `{docroot, undo}`: the result's `adoption` and, where pages were asked, `health`.

    In check mode nothing is touched, no lock is taken, and every refusal is named in `adoption.refused`. Else the
    first one is raised as `NodeError`. Safe to repeat: one that was killed is gone on with, in either direction, and
    one that is done is told as such.
    """
    folder = make_environment_folder_path(call.state_dir, call.environment.id)
    _refuse_work(folder, call.environment)
    if call.check_mode:
        return _foresee(call, folder)
    # Whoever had the lock in between may have staged something: then it is not waited for.
    opened = open_environment(call.state_dir, call.environment, job=call.job, conn=None, lock_wait=0)
    with opened as state:
        step = on_step or (lambda _step: None)
        record = read_adoption(folder)
        if call.request.get("undo"):
            _check_adopted(call, record)
            done = undo(record, call.environment, folder=folder, on_step=step)
        else:
            done = _go(call, record, folder=folder, on_step=step)
        state.record(current_release=done["adoption"]["release"] if _serves(done) else None)
        state.finish_job()
        return dict(done, changed=not done["adoption"]["is_done"], node=state.report())


def _foresee(call, folder):
    """What a run would do, and all that speaks against it."""
    record = read_adoption(folder)
    if call.request.get("undo"):
        _check_adopted(call, record)
        return foresee_undo(record, call.environment)
    docroot = _find_docroot(call, record)
    if record is not None and record.state in (ADOPTING, UNDOING):
        return {"adoption": make_report(record, None, actions=list_way_there(record, None))}
    if _is_adopted(call.environment, docroot):
        return {"adoption": _make_done(call.environment, docroot)}
    adoption, survey = _look(call, docroot)
    return {"adoption": make_report(adoption, survey, actions=list_way_there(adoption, survey))}


def _go(call, record, *, folder, on_step):
    """Adopt, or go on with it from where it stands."""
    docroot, survey = _find_docroot(call, record), None
    if record is None or record.state in (PLAIN, ADOPTED):
        if _is_adopted(call.environment, docroot):
            return {"adoption": _make_done(call.environment, docroot)}
        if record is not None and record.state == PLAIN:
            AdoptionMove(record).clean_up()
        record, survey = _look(call, docroot)
        refuse_first(survey)
        _check_healthy_before(call.environment)
    adoption = record_adoption(folder, record, state=ADOPTING)
    on_step("recorded")
    move = AdoptionMove(adoption, on_step=on_step)
    notes = _move(move, adoption, call.environment, folder=folder, on_step=on_step)
    health = watch_pages(call.environment)
    on_step("judged")
    if not health["healthy"]:
        _take_back(adoption, call.environment, health, folder=folder, on_step=on_step)
    adoption = record_adoption(folder, adoption, state=ADOPTED)
    on_step("end recorded")
    report = make_report(adoption, survey, actions=list_way_there(adoption, survey))
    report.update(exchange_ms=move.exchange_ms, notes=[*report["notes"], *notes])
    return {"adoption": report, "health": health}


def _move(move, adoption, environment, *, folder, on_step):
    """Bring everything to its place; returns notes. What cannot be moved is left as it was, and `NodeError` raised."""
    drop_probe(adoption)
    note = ""
    try:
        move.make_root()
        if read_identity(adoption.docroot) == adoption.tree:
            note = ask_through_link(adoption, environment, on_step=on_step)
        move.go_forward()
    except NodeError:
        if read_identity(adoption.docroot) == adoption.tree:  # PHP never saw it anywhere else
            move.clean_up()
            record_adoption(folder, adoption, state=PLAIN)
        raise
    problem = reload(environment)
    on_step("php reloaded")
    return [text for text in (note, problem) if text]


def _take_back(adoption, environment, health, *, folder, on_step):
    """The site is not healthy where it is now: put it back, and say so."""
    record_adoption(folder, adoption, state=UNDOING)
    on_step("recorded")
    _note, after, _ms = bring_back(adoption, environment, on_step=on_step)
    record_adoption(folder, adoption, state=PLAIN)
    raise NodeError(
        "HEALTH_CHECK_FAILED",
        "once it was moved, the site was not healthy ({0}); the docroot is a plain one again and {1}".format(
            describe_failures(health["checks"]),
            "healthy" if after["healthy"] else "still not healthy: " + describe_failures(after["checks"]),
        ),
        "Look at the web server's and PHP's error logs of that moment, then try again.",
        partial={"health": after},
    )


def _look(call, docroot):
    """A new adoption, and what was found."""
    root = find_trusted(call.environment.root)
    survey = survey_docroot(
        docroot,
        root,
        protection=make_protection(call.protection),
        environment_id=call.environment.id,
        state_dir=call.state_dir,
    )
    adoption = Adoption(
        state=PLAIN,
        root=root,
        docroot=docroot,
        release=call.job.id,
        tree=read_identity(docroot) or (0, 0),
        shared=tuple(survey.shared),
        made=_find_made(root, survey.shared),
    )
    return adoption, survey


def _find_made(root, shared):
    """The folders that are missing, outermost first."""
    wanted = {root, os.path.join(root, "releases"), os.path.join(root, "shared")}
    wanted |= {os.path.dirname(os.path.join(root, "shared", path)) for path in shared}
    missing = set()
    while wanted:
        path = wanted.pop()
        if not os.path.lexists(path):
            missing.add(path)
            wanted.add(os.path.dirname(path))
    return tuple(sorted(missing, key=lambda path: (path.count("/"), path)))


def _find_docroot(call, record):
    """The docroot's real path, itself not followed where it is a link."""
    given = call.request.get("docroot") or ""
    if not os.path.isabs(given):
        raise NodeError(
            "SCHEMA_UNSUPPORTED",
            "the docroot {0!r} is no absolute path".format(given),
            "Give the folder that the web server serves, as --docroot /var/www/html.",
        )
    above, name = os.path.split(os.path.normpath(given))
    docroot = os.path.join(find_trusted(above), name)
    if record is not None and record.state != PLAIN and record.docroot != docroot:
        raise NodeError(
            "SCHEMA_UNSUPPORTED",
            "this environment was made of {0}, not of {1}".format(record.docroot, docroot),
            "Give that docroot, or undo that adoption first.",
        )
    return docroot


def _is_adopted(environment, docroot):
    """Whether the docroot leads to the release that is served."""
    served = os.path.realpath(environment.current)
    releases = os.path.join(os.path.realpath(environment.root), "releases")
    is_served = os.path.dirname(served) == releases and os.path.isdir(served)
    return is_served and os.path.islink(docroot) and os.path.realpath(docroot) == served


def _make_done(environment, docroot):
    """The report of a docroot that needs nothing any more."""
    root = os.path.realpath(environment.root)
    release = os.path.basename(os.path.realpath(environment.current))
    adoption = Adoption(ADOPTED, root, docroot, release, tree=(0, 0), shared=(), made=())
    return make_report(adoption, None, is_done=True)


def _serves(done):
    return done["adoption"]["state"] == ADOPTED


def _check_adopted(call, record):
    if record is None:
        raise NodeError(
            "SCHEMA_UNSUPPORTED",
            "{0} was not made of a plain docroot by pressluft adopt, so there is nothing to undo".format(
                call.environment.name
            ),
            "Nothing to do. What was brought into the layout by hand is brought back by hand.",
        )


def _check_healthy_before(environment):
    health = watch_pages(environment)
    if not health["healthy"]:
        raise NodeError(
            "HEALTH_CHECK_FAILED",
            "the site is not healthy as it is: {0}".format(describe_failures(health["checks"])),
            "Correct the site, or spec.url and spec.health of the environment: else nobody could tell whether"
            " moving it did harm.",
            partial={"health": health},
        )


def _refuse_work(folder, environment):
    """Refuse an environment in which something is half done: what it waits for would be moved away."""
    state = read_state(folder)
    job = state["job"]
    noted = read_journal(make_job_folder_path(folder, job)) if job else None
    reason = ""
    if state["status"] != "active":
        reason = "it is {0}".format(state["status"])
    elif read_holder(folder) is not None:
        reason = "job {0} is at work there".format(read_holder(folder))
    elif noted and job not in read_finished(folder):
        stands = noted["cut"].get("state")
        if stands not in ENDED_CUTS and (stands or STAGED in [step["name"] for step in noted["steps"]]):
            reason = "job {0} has staged or cut over there and has not ended".format(job)
    if reason:
        raise NodeError(
            "ENVIRONMENT_NOT_ACTIVE",
            "{0} cannot be moved now: {1}".format(environment.name, reason),
            "Let it end, or cancel it, or reset the environment; then try again.",
        )
