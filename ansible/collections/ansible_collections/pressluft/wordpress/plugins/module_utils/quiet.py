"""A copy keeps quiet: no mail, no cron, no queued actions, no search engines, from its first request on.

A must-use plugin in the copy's release sees to it. It is Pressluft's own file: it counts neither as code nor as
drift, and is never promoted (`OWN_FILES`). Should it reach production all the same, it does nothing there.
"""

from __future__ import annotations

import contextlib
import os

from ansible_collections.pressluft.wordpress.plugins.module_utils import durable_file
from ansible_collections.pressluft.wordpress.plugins.module_utils.database import quote_name, run_query

PLUGIN_PATH = "wp-content/mu-plugins/pressluft-quiet.php"
OWN_FILES = (PLUGIN_PATH,)
"""Files below `current` that are Pressluft's own: neither measured nor promoted."""

_PLUGIN = """<?php
/**
 * Plugin Name: Pressluft: a copy keeps quiet
 * Description: Mail, cron and queued actions are off on this copy. Written by every refresh; never promoted.
 */
if ( ! defined( 'ABSPATH' ) || untrailingslashit( get_option( 'home' ) ) === %(production)s ) {
	return;
}
defined( 'DISABLE_WP_CRON' ) || define( 'DISABLE_WP_CRON', true );
add_filter( 'pre_wp_mail', '__return_true', PHP_INT_MAX );
add_filter( 'pre_get_ready_cron_jobs', '__return_empty_array', PHP_INT_MAX );
add_filter( 'action_scheduler_allow_async_request_runner', '__return_false', PHP_INT_MAX );
add_filter( 'action_scheduler_queue_runner_concurrent_batches', '__return_zero', PHP_INT_MAX );
add_filter( 'pre_option_blog_public', function () {
	return '0';
} );
"""


def install_plugin(release, *, production_url):
    """Write the plugin into a release's folder, owned as its index.php; one that is right stays untouched."""
    path = os.path.join(release, PLUGIN_PATH)
    folder, content = os.path.dirname(path), make_plugin(production_url)
    with contextlib.suppress(OSError), open(path, "rb") as stream:
        if stream.read() == content:
            return
    owner = _find_owner(release)
    if not os.path.isdir(folder):
        os.makedirs(folder, mode=0o755)
        os.chown(folder, *owner)
    durable_file.write_bytes(path, content, mode=0o644)
    os.chmod(path, 0o644)
    os.chown(path, *owner)


def make_plugin(production_url):
    """The plugin's bytes. On production's own address it does nothing."""
    url = production_url.rstrip("/").replace("\\", "\\\\").replace("'", "\\'")
    return (_PLUGIN % {"production": "'%s'" % url}).encode("utf-8")


def hide_from_search(conn, database, options_table):
    """Set `blog_public` to 0."""
    place = "{0}.{1}".format(quote_name(database), quote_name(options_table))
    run_query(conn, "UPDATE {0} SET option_value = '0' WHERE option_name = 'blog_public'".format(place))


def _find_owner(release):
    found = os.stat(os.path.join(release, "index.php"))
    return found.st_uid, found.st_gid
