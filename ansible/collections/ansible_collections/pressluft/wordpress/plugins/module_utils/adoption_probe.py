"""Asked before anything is moved: does the web server serve this docroot, and does it serve what a link leads to?

A folder with two small files is made beside the releases, and a link to it in the docroot, as the whole site will be.
So nginx's `disable_symlinks`, Apache without `FollowSymLinks`, PHP's `open_basedir` and closed folders on the way
are found while the site still is where it was.
"""

from __future__ import annotations

import contextlib
import os

from ansible_collections.pressluft.wordpress.plugins.module_utils.health import fetch_page
from ansible_collections.pressluft.wordpress.plugins.module_utils.held_folder import HeldFolder
from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError
from ansible_collections.pressluft.wordpress.plugins.module_utils.place import read_ownership

_STYLE, _PROGRAM = "probe.css", "probe.php"


def ask_through_link(adoption, environment, *, on_step):
    """Ask the web server and PHP for what a link in the docroot leads to; returns a note, empty if all was proved.

    Raises `NodeError` `SCHEMA_UNSUPPORTED` where the site would not be served once it is moved.
    """
    name = _make_name(adoption)
    address = "{0}/{1}/".format(environment.url.rstrip("/"), name)
    try:
        _lay_files(os.path.join(adoption.root, "releases"), name, adoption)
        _lay_link(adoption, name)
        on_step("probe laid")
        _ask_style(address, adoption)
        if _is_run(address, adoption):
            return ""
        drop_probe(adoption)
        _lay_files(adoption.docroot, name, adoption)
        if _is_run(address, adoption):
            raise _make_blind(
                "PHP runs files in {0}, but not what a link there leads to in {1}".format(
                    adoption.docroot, adoption.root
                ),
                "Let open_basedir of the PHP pool name the root too, and let its user enter the folders above it.",
            )
        return "PHP runs no file of ours in {0}, so it was not asked beforehand".format(adoption.docroot)
    finally:
        drop_probe(adoption)
        on_step("probe dropped")


def drop_probe(adoption):
    """Remove what a probe left, also one that was killed."""
    for folder in (adoption.docroot, os.path.join(adoption.root, "releases")):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), HeldFolder(folder) as held:
            held.remove(_make_name(adoption))


def _ask_style(address, adoption):
    page = fetch_page(address + _STYLE)
    if page.error or page.status != 200 or _make_word(adoption) not in page.body:
        raise _make_blind(
            "{0} was asked for a file that a link in {1} leads to, and answered {2}".format(
                address, adoption.docroot, page.error or "HTTP {0}".format(page.status)
            ),
            "Give the docroot that serves spec.url, let the web server follow links (nginx: disable_symlinks off,"
            " Apache: Options FollowSymLinks), and let its user enter {0}.".format(adoption.root),
        )


def _is_run(address, adoption):
    page = fetch_page(address + _PROGRAM)
    return page.status == 200 and b"run " + _make_word(adoption) in page.body


def _lay_files(folder, name, adoption):
    word = _make_word(adoption)
    program = b"<?php echo 'run', ' ', '" + word + b"';\n"
    owner = read_ownership(adoption.docroot)
    with HeldFolder(folder) as held:
        held.make_folder(name, owner=owner)
        held.adjust(name, mode=0o755)
        for file, content in ((_STYLE, b"/* " + word + b" */\n"), (_PROGRAM, program)):
            held.put_file(
                os.path.join(name, file),
                lambda descriptor, content=content: os.write(descriptor, content),
                owner=owner,
                mode=0o644,
            )


def _lay_link(adoption, name):
    with HeldFolder(adoption.docroot) as held:
        held.put_link(
            name, os.path.join(adoption.root, "releases", name), owner=read_ownership(adoption.docroot)
        )


def _make_name(adoption):
    return "pressluft-probe-{0}".format(adoption.release)


def _make_word(adoption):
    return adoption.release.encode("ascii")


def _make_blind(what, remedy):
    return NodeError("SCHEMA_UNSUPPORTED", what, remedy)
