#!/usr/bin/python
# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""Brings a plain docroot into the layout of releases, or back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: adopt
short_description: Adopt a plain docroot
description:
  - Makes the plain folder of a WordPress, which the web server serves, the first release of an environment. The
    folder is moved by one rename that leaves a link in its place, so that its path goes on to serve the site.
    Uploads and C(wp-config.php) are moved to C(shared) the same way. Nothing is copied.
  - Asks the site's pages before and after. Where they are not healthy afterwards, all of it is undone.
  - Run again after it was killed, it goes on from where it stands, in either direction.
version_added: 0.1.0
author: The Pressluft authors (@pressluft)
extends_documentation_fragment:
  - pressluft.wordpress.call
attributes:
  check_mode:
    support: full
    description: What would be moved, linked, made and refused is named, and nothing is touched.
"""

EXAMPLES = r"""
- name: Adopt the docroot
  pressluft.wordpress.adopt:
    job: "{{ pressluft_job }}"
    settings: "{{ pressluft_settings }}"
    environment: "{{ pressluft_environment }}"
    protection: "{{ pressluft_protection }}"
    request: {docroot: /var/www/html, undo: false}
"""

RETURN = r"""
pressluft:
  description:
    - C(adoption) with C(state), C(docroot), C(root), C(release), C(is_done) (nothing was left to do), C(actions) (each
      C(do), C(path), C(to), C(files), C(bytes), C(why)), C(refused) (of a dry run, each C(what), C(remedy)), C(notes)
      and C(exchange_ms); C(health); C(node).
  returned: always
  type: dict
  sample: {adoption: {state: adopted, docroot: /var/www/html, root: /srv/acme, is_done: false}}
pressluft_error:
  description: Why it failed - C(code), C(message), C(remedy), C(retry).
  returned: failure
  type: dict
  sample: {code: SCHEMA_UNSUPPORTED, message: what happened, remedy: what to do next, retry: false}
"""

from ansible_collections.pressluft.wordpress.plugins.module_utils.adopt import adopt
from ansible_collections.pressluft.wordpress.plugins.module_utils.arguments import run_module


def main():
    """Run the module."""
    run_module(adopt, required=("environment", "protection"))


if __name__ == "__main__":
    main()
