"""What a playbook is told: docs/reference/node-protocol.md, made from documents alone. No secret is known here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from reconciler.core.baseline import find_bound
from reconciler.core.flow import JobView, StartStep
from reconciler.core.party import Parties
from reconciler.core.record import find_protection
from reconciler.ports import Json, NodeAddress, RunSpec
from schemas.fleet import Environment, Node
from schemas.model import format_timestamp

PLAYBOOKS_ON_COPY = frozenset({"drift-check", "env-refresh"})


@dataclass(frozen=True, slots=True)
class NodeFolders:
    """Where nodes keep their state and their configuration."""

    state_dir: str
    config_dir: str


def make_run_spec(view: JobView, order: StartStep, *, folders: NodeFolders) -> RunSpec:
    """Make the run that an order to start a step asks for."""
    return RunSpec(
        job_id=view.job.id,
        epoch=view.job.epoch,
        step=order.step,
        playbook=order.playbook,
        node=make_address(find_nodes(view.parties, order)[0]),
        variables=make_variables(view, order, folders=folders),
        timeout=order.timeout,
        tag=find_task(order),
    )


def find_task(order: StartStep) -> str:
    """Name the step as the playbook does: `check-1` and `check-2` are the same one there."""
    return re.sub(r"-[0-9]+$", "", order.step)


def find_nodes(parties: Parties, order: StartStep) -> tuple[Node, Node | None]:
    """Return the node that a step runs on, and that of the other side of a copy if it is another one.

    A check and a refresh run where the copy is, also when a promotion refreshes first (spec.md §5); any other step
    where the environment is that it names, else the job's own.
    """
    named = order.request.get("environment")
    is_about_copy = order.playbook in PLAYBOOKS_ON_COPY and parties.source is not None
    subject = (
        parties.source
        if is_about_copy and parties.source
        else next((env for env in parties.environments if env.metadata.name == named), parties.environment)
    )
    here = parties.find_node(subject)
    sides = [parties.find_node(env) for env in (parties.production, parties.source) if env is not None]
    return here, next((node for node in sides if node != here), None)


def make_address(node: Node) -> NodeAddress:
    """Say how a node is reached."""
    spec = node.spec
    return NodeAddress(
        name=node.metadata.name,
        host=spec.host,
        port=None if spec.is_local else spec.ssh_port,
        user=spec.user,
        python_interpreter=spec.python_interpreter,
    )


def make_variables(view: JobView, order: StartStep, *, folders: NodeFolders) -> dict[str, Json]:
    """Make the extra variables of one step; sides that a job does not have are left out."""
    request = dict(order.request)
    named = request.pop("environment", view.parties.environment.metadata.name)
    sides = {
        "pressluft_production": view.parties.production,
        "pressluft_source": view.parties.source,
        "pressluft_environment": next(env for env in view.parties.environments if env.metadata.name == named),
    }
    peer = find_nodes(view.parties, order)[1]
    bound = find_bound(view)
    request["baselines"] = {str(env_id): name for env_id, name in sorted(bound.items()) if name}
    protection = find_protection(view.parties).model_dump(mode="json")
    return {
        "pressluft_job": {
            "id": str(view.job.id),
            "epoch": view.job.epoch,
            "type": str(view.job.job_type),
            "step": find_task(order),
        },
        "pressluft_settings": {
            "state_dir": folders.state_dir,
            "config_dir": folders.config_dir,
            "controller_time": format_timestamp(view.now),
        },
        "pressluft_protection": protection,
        "pressluft_request": request,
        **({"pressluft_peer": describe_peer(peer)} if peer else {}),
        **{name: describe_environment(env) for name, env in sides.items() if env is not None},
    }


def describe_peer(node: Node) -> Json:
    """Describe the other node to the action plugins, which run on the controller and join the two."""
    address = make_address(node)
    return {
        "name": address.name,
        "host": address.host,
        "port": address.port,
        "user": address.user,
        "python_interpreter": address.python_interpreter,
    }


def describe_environment(environment: Environment) -> Json:
    """Describe an environment as nodes are told of it."""
    spec = environment.spec
    return {
        "id": str(environment.metadata.id),
        "name": environment.metadata.name,
        "type": spec.type.value,
        "url": spec.url,
        "root": spec.root,
        "database": {"name": spec.database.name, "table_prefix": spec.database.table_prefix},
        "php": {"fpm_service": spec.php.fpm_service or "", "cli": spec.php.cli},
        "web_server": {"cache_path": spec.web_server.cache_path or ""},
        "health": {
            "urls": list(spec.health_urls),
            "body_contains": spec.health.body_contains or "",
            "stable_for": spec.health.stable_for.total_seconds(),
        },
    }
