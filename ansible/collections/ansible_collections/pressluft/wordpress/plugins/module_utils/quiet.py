"""A copy keeps quiet: no mail, no cron, no queued actions, no search engines, from its first request on.

A must-use plugin in the copy's release sees to it. What passes by WordPress, PHP's own `mail()`, it cannot stop, and
says so to whoever administers the copy: that takes `sendmail_path` of the copy's PHP pool. The plugin is Pressluft's
own file: it counts neither as code nor as drift, and is never promoted (`OWN_FILES`). Should it reach production all
the same, it does nothing there.
"""

from __future__ import annotations

import os

from ansible_collections.pressluft.wordpress.plugins.module_utils.database import quote_name, run_query
from ansible_collections.pressluft.wordpress.plugins.module_utils.held_folder import (
    HeldFolder,
    find_trusted,
)
from ansible_collections.pressluft.wordpress.plugins.module_utils.place import read_ownership

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
// Plugins of mail services bring a wp_mail() of their own, which asks no filter: ours comes first.
if ( ! function_exists( 'wp_mail' ) ) {
	function wp_mail( $to, $subject, $message, $headers = '', $attachments = array(), $embeds = array() ) {
		return true;
	}
}
add_filter( 'pre_get_ready_cron_jobs', '__return_empty_array', PHP_INT_MAX );
add_filter( 'action_scheduler_allow_async_request_runner', '__return_false', PHP_INT_MAX );
add_filter( 'action_scheduler_queue_runner_concurrent_batches', '__return_zero', PHP_INT_MAX );
add_filter( 'pre_option_blog_public', function () {
	return '0';
} );
// What calls PHP's own mail() passes by WordPress, and no code can change sendmail_path once PHP runs.
add_action( 'admin_notices', function () {
	if ( function_exists( 'mail' ) && ! preg_match( '~^(\\S*/)?true(\\s|$)~', (string) ini_get( 'sendmail_path' ) ) ) {
		echo '<div class="notice notice-warning"><p>Pressluft: wp_mail() is off on this copy, but code that calls'
			. ' mail() itself still sends. Set <code>sendmail_path = /bin/true</code> in its PHP pool.</p></div>';
	}
} );
// WP-CLI reads the schedule itself and asks no filter either.
if ( defined( 'WP_CLI' ) && WP_CLI ) {
	foreach ( array( 'cron event run', 'action-scheduler run' ) as $pressluft_command ) {
		WP_CLI::add_hook( "before_invoke:{$pressluft_command}", function () {
			WP_CLI::warning( 'A copy keeps quiet: nothing was run (Pressluft).' );
			WP_CLI::halt( 0 );
		} );
	}
}
"""


def install_plugin(release, *, production_url):
    """Write the plugin into a release's folder, owned as its index.php; one that is right stays untouched."""
    content, owner = make_plugin(production_url), read_ownership(os.path.join(release, "index.php"))
    folder, name = os.path.split(PLUGIN_PATH)
    if not os.path.isdir(os.path.join(release, folder)):
        with HeldFolder(find_trusted(os.path.join(release, os.path.dirname(folder)))) as held:
            held.make_folder(os.path.basename(folder), owner=owner)
    with HeldFolder(find_trusted(os.path.join(release, folder))) as held:
        if _read(held, name) == content:
            return

        def fill(descriptor):
            os.write(descriptor, content)
            os.fsync(descriptor)

        held.put_file(name, fill, owner=owner, mode=0o644)
        os.fsync(held.descriptor)


def make_plugin(production_url):
    """The plugin's bytes. On production's own address it does nothing."""
    url = production_url.rstrip("/").replace("\\", "\\\\").replace("'", "\\'")
    return (_PLUGIN % {"production": "'%s'" % url}).encode("utf-8")


def hide_from_search(conn, database, options_table):
    """Set `blog_public` to 0."""
    place = "{0}.{1}".format(quote_name(database), quote_name(options_table))
    run_query(conn, "UPDATE {0} SET option_value = '0' WHERE option_name = 'blog_public'".format(place))


def _read(held, name):
    try:
        descriptor = held.open_file(name)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read(len(_PLUGIN) + 4096)
