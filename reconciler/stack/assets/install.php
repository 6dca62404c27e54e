<?php
/**
 * Installs WordPress into the database of its wp-config.php, as `wp core install --skip-email` would, and switches
 * the demonstration theme and plugin on. Usage: php install.php TREE URL TITLE
 */

if ( PHP_SAPI !== 'cli' ) {
	exit( 1 );
}
list( , $tree, $url, $title ) = $argv;

define( 'WP_INSTALLING', true );
define( 'WP_SITEURL', $url );
$_SERVER['HTTP_HOST']       = parse_url( $url, PHP_URL_HOST );
$_SERVER['REQUEST_URI']     = '/';
$_SERVER['SERVER_PROTOCOL'] = 'HTTP/1.1';

/** Nobody is to get mail about a throw-away site. */
function wp_new_blog_notification() {}

require $tree . '/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/upgrade.php';
require_once ABSPATH . 'wp-admin/includes/plugin.php';

add_filter(
	'pre_http_request',
	static function () {
		return new WP_Error( 'offline', 'The installation asks nobody.' );
	}
);

wp_install( $title, 'admin', 'admin@example.test', true, '', wp_generate_password( 32 ) );
update_option( 'home', $url );
update_option( 'permalink_structure', '' );
update_option( 'comment_previously_approved', '' );
switch_theme( 'pressluft-demo' );
$failure = activate_plugin( 'pressluft-demo-shop/pressluft-demo-shop.php' );
if ( is_wp_error( $failure ) ) {
	fwrite( STDERR, $failure->get_error_message() );
	exit( 1 );
}
