"""What every module of the collection is given and how it answers: one argument_spec, one error boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pressluft.wordpress.plugins.module_utils.connection import end_with_connection
from ansible_collections.pressluft.wordpress.plugins.module_utils.durable_file import BrokenFile
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import (
    Environment,
    Job,
    make_environment,
    make_environment_folder_path,
    make_report,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.free_space import is_full, make_full
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

__all__ = [
    "ARGUMENT_SPEC",
    "Call",
    "NodeError",
    "as_node_error",
    "make_argument_spec",
    "make_call",
    "run_module",
]

_ENVIRONMENT = {
    "id": {"type": "str", "required": True},
    "name": {"type": "str", "default": ""},
    "type": {"type": "str", "required": True, "choices": ["production", "staging", "clone"]},
    "url": {"type": "str", "required": True},
    "root": {"type": "path", "required": True},
    "database": {
        "type": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "table_prefix": {"type": "str", "required": True},
        },
    },
    "php": {
        "type": "dict",
        "default": {},
        "options": {"fpm_service": {"type": "str", "default": ""}, "cli": {"type": "str", "default": "php"}},
    },
    "web_server": {"type": "dict", "default": {}, "options": {"cache_path": {"type": "str", "default": ""}}},
    "health": {
        "type": "dict",
        "default": {},
        "options": {
            "urls": {"type": "list", "elements": "str", "default": []},
            "body_contains": {"type": "str", "default": ""},
            "stable_for": {"type": "float", "default": 0},
        },
    },
}

_NAMES = {"type": "list", "elements": "str", "default": []}

ARGUMENT_SPEC = {
    "job": {
        "type": "dict",
        "required": True,
        "options": {
            "id": {"type": "str", "required": True},
            "epoch": {"type": "int", "required": True},
            "type": {"type": "str", "required": True},
            "step": {"type": "str", "required": True},
        },
    },
    "settings": {
        "type": "dict",
        "default": {},
        "options": {
            "state_dir": {"type": "path", "default": "/var/lib/pressluft"},
            "config_dir": {"type": "path", "default": "/etc/pressluft"},
            "controller_time": {"type": "str", "default": ""},
        },
    },
    "production": {"type": "dict", "options": _ENVIRONMENT},
    "source": {"type": "dict", "options": _ENVIRONMENT},
    "environment": {"type": "dict", "options": _ENVIRONMENT},
    "protection": {
        "type": "dict",
        "options": {
            "protected_tables": _NAMES,
            "protected_paths": _NAMES,
            "preserved_tables": _NAMES,
            "preserved_options": _NAMES,
            "preserved_files": _NAMES,
            "volatile_options": _NAMES,
            "volatile_files": _NAMES,
        },
    },
    "request": {"type": "dict", "default": {}},
    "peer": {
        "type": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "host": {"type": "str", "required": True},
            "port": {"type": "int"},
            "user": {"type": "str", "required": True},
            "python_interpreter": {"type": "str", "required": True},
            "socket": {"type": "path", "default": ""},
        },
    },
}


@dataclass(frozen=True)
class Call:
    """One run of a module. `protection` and `request` are as they were sent; `peer` is the socket that leads to the
    other node, empty where both environments are on this one.
    """

    job: Job
    state_dir: str
    config_dir: str
    production: Optional[Environment]
    source: Optional[Environment]
    environment: Optional[Environment]
    protection: dict
    request: dict
    check_mode: bool
    peer: str = ""


def make_argument_spec(*required):
    """The shared spec with some of production, source, environment, protection made obligatory."""
    return {
        name: dict(spec, required=True) if name in required else spec for name, spec in ARGUMENT_SPEC.items()
    }


def make_call(params, *, check_mode=False):
    """Turn a module's params into values. Raises `NodeError` when the two sides are of the wrong type."""
    settings = params["settings"]
    sides = {
        name: make_environment(params[name]) if params.get(name) else None
        for name in ("production", "source", "environment")
    }
    _check_types(sides["production"], sides["source"])
    return Call(
        job=Job(controller_time=settings.get("controller_time") or "", **params["job"]),
        state_dir=settings.get("state_dir") or "/var/lib/pressluft",
        config_dir=settings.get("config_dir") or "/etc/pressluft",
        protection=params.get("protection") or {},
        request=params.get("request") or {},
        check_mode=check_mode,
        peer=_find_socket(params.get("peer")),
        **sides,
    )


def find_subject(call):
    """The environment that the job is about: spec.md §5."""
    if call.job.type in ("drift_check", "env_refresh"):
        return call.source or call.environment
    return call.environment or call.production or call.source


def run_module(body, *, required=()):
    """Run a module: `body(call) -> dict` gives what is returned under `pressluft`, with `changed` beside it.

    A key `changed` in that dict becomes the module's own; `node` is added where it is missing. A `NodeError`
    becomes `fail_json` with `pressluft_error`; anything else is a bug and ends with its traceback.
    """
    module = AnsibleModule(argument_spec=make_argument_spec(*required), supports_check_mode=True)
    end_with_connection()
    call = None
    try:
        call = make_call(module.params, check_mode=module.check_mode)
        result = dict(body(call))
    except (NodeError, OSError, BrokenFile) as raised:
        error = as_node_error(raised)
        partial = _add_node(call, error.partial)
        module.fail_json(msg=error.message, pressluft_error=error.as_result(), pressluft=partial)
    changed = bool(result.pop("changed", False))
    module.exit_json(changed=changed, pressluft=_add_node(call, result))


def _find_socket(peer):
    """The socket of the relay, which the action plugins of this collection make."""
    if not peer:
        return ""
    if not peer["socket"]:
        raise NodeError(
            "ANSIBLE_SYNTAX_ERROR",
            "there is no way to node {0}".format(peer["name"]),
            "Run the step through the action plugin of its module, as Pressluft's playbooks do.",
        )
    return peer["socket"]


def as_node_error(error):
    """What a node's own disk or files refuse is foreseen; anything else is a bug."""
    if isinstance(error, NodeError):
        return error
    if isinstance(error, BrokenFile):
        remedy = "Restore that file on the node from a backup of its state_dir, then run the job again."
        return NodeError("ANSIBLE_HOST_FAILED", str(error), remedy)
    if is_full(error):
        return make_full(str(error))
    return NodeError(
        "ANSIBLE_HOST_FAILED",
        "the node's system refused: {0}".format(error),
        "Correct what the message names on the node, then run the job again.",
    )


def _add_node(call, result):
    subject = find_subject(call) if call else None
    if subject is None or "node" in result:
        return result
    try:
        folder = make_environment_folder_path(call.state_dir, subject.id)
        return dict(result, node=make_report(folder, call.job.id))
    except (NodeError, OSError, BrokenFile):  # the very thing that is told already
        return result


def _check_types(production, source):
    if production is not None and production.type != "production":
        raise _make_type_error(production, "is given as production but is a {0}")
    if source is not None and source.type == "production":
        raise _make_type_error(source, "is a production and can never be the source or the target of a {0}")


def _make_type_error(environment, text):
    kind = environment.type if environment.type != "production" else "refresh"
    return NodeError(
        "IDENTITY_MISMATCH",
        "environment {0} {1}".format(environment.name, text.format(kind)),
        "Correct the environments that the intent names.",
    )
