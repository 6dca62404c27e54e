<?php
/** A post's comments, and the form for a new one. */

wp_list_comments();
comment_form();
