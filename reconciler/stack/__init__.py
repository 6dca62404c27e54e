"""The private servers of `pressluft demo` and of the tests: MariaDB, PHP-FPM, nginx, sshd, real WordPress.

All live in one folder, run without root rights (also when root starts them), listen on the loopback interface only
and end with the thread that started them, so start them from the main thread. What a caller needs:

    from reconciler.stack.node_config import write_node_config
    from reconciler.stack.process import Lifetime
    from reconciler.stack.site import create_empty_site, create_site, seed_content
    from reconciler.stack.stack import Stack, find_stack_folder, stop_stack

    with Stack(find_stack_folder("demo"), report=show_line) as stack:      # installs what is missing
        production = create_site(stack, "production", cache_path=stack.folder / "cache" / "production")
        seed_content(production, posts=300, comments=500, uploads=24)
        staging = create_empty_site(stack, "staging")                      # for the first full refresh to fill in
        config_dir = write_node_config(stack, stack.folder / "node", restic_repository=stack.folder / "restic")
        production.url; production.root; production.database_name; production.table_prefix; production.uploads
        stack.php_fpm.pid_file                                             # an Environment's php.fpm_service
        stack.mariadb.client_file                                          # administrator's [client] file, 0600
        production.fetch("/").body; production.post_comment(1, "..."); production.query("SELECT ... {p}posts")

`report` receives finished lines of progress. With `lifetime=Lifetime.KEPT` the servers outlive the process: call
`stack.release()` instead of `stack.stop()`, and `stop_stack(folder)` when they are no longer wanted; the next
`Stack` in the same folder ends them as well. Errors are `reconciler.stack.command.StackError` with a next step.

The modules `packages`, `download`, `cache`, `account` and `command` need the standard library alone: they run
before there is a virtual environment (`python3 -m reconciler.stack.packages`).
"""
