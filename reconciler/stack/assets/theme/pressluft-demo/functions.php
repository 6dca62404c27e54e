<?php
/** What every page of the demonstration theme needs. */

defined( 'ABSPATH' ) || exit;

add_action(
	'after_setup_theme',
	static function () {
		add_theme_support( 'title-tag' );
		add_theme_support( 'post-thumbnails' );
	}
);

/** The version as style.css states it, so that editing one file makes a new version. */
function pressluft_demo_version() {
	return wp_get_theme( 'pressluft-demo' )->get( 'Version' );
}
