# Copyright: The Pressluft authors
# Apache-2.0 (see LICENSE)

"""The options that every module of the collection has (module_utils/arguments.py)."""

from __future__ import annotations


class ModuleDocFragment:
    """Options as docs/reference/node-protocol.md describes them."""

    DOCUMENTATION = r"""
options:
  job:
    description: The job that this step belongs to.
    type: dict
    required: true
    suboptions:
      id:
        description: The job's UUID.
        type: str
        required: true
      epoch:
        description: The claim's epoch; a lower one than the node has seen is refused.
        type: int
        required: true
      type:
        description: The job's type, for example C(env_promote).
        type: str
        required: true
      step:
        description: The step's name, for example C(stage).
        type: str
        required: true
  settings:
    description: Where the node keeps its files, and what time it is for the controller.
    type: dict
    default: {}
    suboptions:
      state_dir:
        description: The folder of Pressluft's own files.
        type: path
        default: /var/lib/pressluft
      config_dir:
        description: The folder that holds C(node.ini).
        type: path
        default: /etc/pressluft
      controller_time:
        description: ISO 8601; a node whose clock is off by over 30 s is refused. Empty is not compared.
        type: str
        default: ""
  production:
    description: The site's production environment, where the job has one.
    type: dict
    suboptions: &environment
      id:
        description: The environment's UUID.
        type: str
        required: true
      name:
        description: The environment's name in the fleet repo.
        type: str
        default: ""
      type:
        description: What kind of environment it is.
        type: str
        choices: [production, staging, clone]
        required: true
      url:
        description: The address that visitors use.
        type: str
        required: true
      root:
        description: The folder that holds C(current), C(releases) and C(shared).
        type: path
        required: true
      database:
        description: Where its tables are.
        type: dict
        required: true
        suboptions:
          name:
            description: The database's name.
            type: str
            required: true
          table_prefix:
            description: What the names of its tables begin with.
            type: str
            required: true
      php:
        description: The PHP that serves it.
        type: dict
        default: {}
        suboptions:
          fpm_service:
            description: A systemd unit, or the absolute path of a PHP-FPM pid file. Empty reloads nothing.
            type: str
            default: ""
          cli:
            description: The PHP that runs WP-CLI.
            type: str
            default: php
      web_server:
        description: The web server's page cache.
        type: dict
        default: {}
        suboptions:
          cache_path:
            description: The folder of nginx's FastCGI cache. Empty purges nothing.
            type: str
            default: ""
      health:
        description: What makes the site healthy.
        type: dict
        default: {}
        suboptions:
          urls:
            description: Addresses that must answer 200. Empty means O(production.url) alone.
            type: list
            elements: str
            default: []
          body_contains:
            description: A text that the first address must show.
            type: str
            default: ""
          stable_for:
            description: Seconds for which it must stay healthy.
            type: float
            default: 0
  source:
    description: The non-production side of a promotion, a drift check or a refresh.
    type: dict
    suboptions: *environment
  environment:
    description: The environment of a job that is about one alone.
    type: dict
    suboptions: *environment
  protection:
    description: What must never be overwritten; names without prefix, C(*) is the only wildcard.
    type: dict
    suboptions:
      protected_tables: &names
        description: Names.
        type: list
        elements: str
        default: []
      protected_paths: *names
      preserved_tables: *names
      preserved_options: *names
      preserved_files: *names
      volatile_options: *names
      volatile_files: *names
  request:
    description: What the step is asked for (node-protocol.md, Results).
    type: dict
    default: {}
  peer:
    description: The other environment's node, where it is another one. Read by the modules' action plugins.
    type: dict
    suboptions:
      name:
        description: The node's name.
        type: str
        required: true
      host:
        description: Its address for the controller; C(localhost) without a port is the controller itself.
        type: str
        required: true
      port:
        description: The port of its sshd.
        type: int
      user:
        description: The user to log in as.
        type: str
        required: true
      python_interpreter:
        description: The Python to run there.
        type: str
        required: true
      socket:
        description: Where the module finds the other node; set by the action plugin.
        type: path
        default: ""
"""
