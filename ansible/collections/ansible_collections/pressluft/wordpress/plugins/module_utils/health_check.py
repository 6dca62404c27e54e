"""The `health` step: a look at one environment, which it neither changes nor waits long for."""

from __future__ import annotations

from contextlib import ExitStack, closing

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import DatabaseError, connect
from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import open_environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.health import check_health
from ansible_collections.pressluft.wordpress.plugins.module_utils.kept import drop_expired
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_config import read_node_config


def report_health(call):
    """Check the health of the job's environment; a database that is down is part of the answer."""
    environment = call.environment or call.production
    config = read_node_config(call.config_dir)
    with ExitStack() as stack:
        try:
            conn = stack.enter_context(closing(connect(config.mysql_defaults_file)))
        except DatabaseError:
            conn = None
        state = stack.enter_context(open_environment(call.state_dir, environment, job=call.job, conn=conn))
        if conn is not None and not call.check_mode:
            drop_expired(state, conn)
        health = check_health(conn, environment, wp_cli=config.wp_cli)
        if call.job.type == "health_check" and not call.check_mode:
            state.finish_job()
        return {"health": health, "node": state.report()}
