</main>
<footer>Theme Pressluft Demo <span id="theme-version"><?php echo esc_html( pressluft_demo_version() ); ?></span></footer>
<?php wp_footer(); ?>
</body>
</html>
