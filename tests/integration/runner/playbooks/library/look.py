#!/usr/bin/python
"""Reports the environments and command lines of the run's processes above itself; may kill one of them."""

import os
import signal
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule


def read(pid, name):
    return Path(f"/proc/{pid}/{name}").read_text(errors="replace").split("\0")


def ancestors():
    pid = os.getpid()
    while pid > 1:
        if any(entry.startswith("PRESSLUFT_RUN_ID=") for entry in read(pid, "environ")):
            yield pid
        pid = int(read(pid, "stat")[0].rpartition(")")[2].split()[1])


def main():
    module = AnsibleModule(argument_spec={"kill": {"type": "str"}})
    seen = [
        {"pid": pid, "argv": read(pid, "cmdline"), "environ": read(pid, "environ")} for pid in ancestors()
    ]
    if module.params["kill"]:
        named = [one["pid"] for one in seen if any(module.params["kill"] in word for word in one["argv"])]
        os.kill(named[-1], signal.SIGKILL)
    module.exit_json(pressluft={"ancestors": seen})


if __name__ == "__main__":
    main()
