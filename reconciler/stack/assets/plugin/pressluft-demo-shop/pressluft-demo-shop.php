<?php
/**
 * Plugin Name: Pressluft Demo Shop
 * Description: Stands in for a shop in Pressluft's demonstrations: one table of its own and one serialized option.
 * Version: 1.0.0
 * Requires PHP: 7.4
 * License: Apache-2.0
 */

defined( 'ABSPATH' ) || exit;

const PRESSLUFT_DEMO_SHOP_OPTION = 'pressluft_demo_shop_settings';

// All visitors of a demonstration come from one address, faster than readers write.
add_filter( 'wp_is_comment_flood', '__return_false', 20 );

function pressluft_demo_shop_table() {
	global $wpdb;
	return $wpdb->prefix . 'demo_shop_items';
}

function pressluft_demo_shop_activate() {
	global $wpdb;
	require_once ABSPATH . 'wp-admin/includes/upgrade.php';
	dbDelta(
		'CREATE TABLE ' . pressluft_demo_shop_table() . ' (
			id bigint(20) unsigned NOT NULL AUTO_INCREMENT,
			sku varchar(64) NOT NULL,
			name varchar(200) NOT NULL,
			price decimal(10,2) NOT NULL DEFAULT 0,
			image_url varchar(500) NOT NULL DEFAULT \'\',
			PRIMARY KEY  (id),
			UNIQUE KEY sku (sku)
		) ' . $wpdb->get_charset_collate()
	);
	add_option( PRESSLUFT_DEMO_SHOP_OPTION, array( 'banner' => 'Welcome to the shop' ) );
}
register_activation_hook( __FILE__, 'pressluft_demo_shop_activate' );

function pressluft_demo_shop_line() {
	global $wpdb;
	$settings = get_option( PRESSLUFT_DEMO_SHOP_OPTION, array() );
	$items    = (int) $wpdb->get_var( 'SELECT COUNT(*) FROM ' . pressluft_demo_shop_table() );
	$banner   = isset( $settings['banner'] ) ? $settings['banner'] : '';
	$link     = isset( $settings['checkout_url'] ) ? $settings['checkout_url'] : home_url( '/' );
	printf(
		'<p id="demo-shop"><a href="%s">%s</a>: %d items</p>',
		esc_url( $link ),
		esc_html( $banner ),
		$items
	);
}
add_action( 'wp_footer', 'pressluft_demo_shop_line' );
