<?php
/** The only template: a list of posts, or one of them with its comments. */

get_header();
while ( have_posts() ) {
	the_post();
	the_title( '<h2><a href="' . esc_url( get_permalink() ) . '">', '</a></h2>' );
	the_content();
	if ( is_singular() ) {
		comments_template();
	}
}
get_footer();
