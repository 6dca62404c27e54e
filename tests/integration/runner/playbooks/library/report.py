#!/usr/bin/python
"""Returns what it is told under `pressluft`, as the product's modules do; fails if told an error."""

from ansible.module_utils.basic import AnsibleModule


def main():
    module = AnsibleModule(
        argument_spec={
            "result": {"type": "dict", "default": {}},
            "progress": {"type": "list", "elements": "str", "default": []},
            "error": {"type": "dict"},
        }
    )
    answer = {"pressluft": module.params["result"], "pressluft_progress": module.params["progress"]}
    error = module.params["error"]
    if error:
        module.fail_json(msg=error["message"], pressluft_error=error, **answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
