"""`python -m schemas [--check]`: write what is made from the models, or say what is not current.

Run in a checkout. Exit 0: current or written; 1: `--check` found differences; 2: usage.
"""

import argparse
import sys
from pathlib import Path

from schemas.json_schema import format_json, make_json_schemas
from schemas.reference import make_preset_page, replace_fields

CHECKOUT = Path(__file__).resolve().parent.parent
SCHEMAS = Path("contracts/schemas")
PRESETS = Path("docs/reference/presets.md")
FLEET_REPO = Path("docs/reference/fleet-repo.md")


def make_files(root: Path) -> dict[Path, str]:
    """Make the text of each generated file by its path below `root`."""
    schemas = {SCHEMAS / name: format_json(schema) for name, schema in make_json_schemas().items()}
    fleet_repo = replace_fields((root / FLEET_REPO).read_text(encoding="utf-8"))
    return {**schemas, PRESETS: make_preset_page(), FLEET_REPO: fleet_repo}


def find_stale(root: Path, files: dict[Path, str]) -> list[Path]:
    """Find what is missing, different or left over below `root`."""
    left_over = [path.relative_to(root) for path in (root / SCHEMAS).glob("*.json")]
    return sorted(
        path
        for path in {*files, *left_over}
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != files.get(path)
    )


def write(root: Path, files: dict[Path, str], stale: list[Path]) -> None:
    """Bring the stale files up to date and remove those that are made no more."""
    for path in stale:
        if path in files:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(files[path], encoding="utf-8")
        else:
            (root / path).unlink()


def main(arguments: list[str]) -> int:
    """Write or check; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m schemas", description="Write what is made from the models."
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if something is not current"
    )
    parser.add_argument("--root", type=Path, default=CHECKOUT, help="the checkout")
    options = parser.parse_args(arguments)
    files = make_files(options.root)
    stale = find_stale(options.root, files)
    if not options.check:
        write(options.root, files, stale)
    for path in stale:
        sys.stdout.write(f"{path}: {'not current' if options.check else 'written'}\n")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
