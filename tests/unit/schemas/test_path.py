import pytest

from schemas.document import PathKind, Place, classify_path, find_place

ID = "7d9f2b1c-0f3a-4c55-9d3e-2b6f3a1c8e10"


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("pressluft.yaml", Place(PathKind.FLEET)),
        ("nodes/web-1.yaml", Place(PathKind.NODE, None, "web-1")),
        ("sites/acme/site.yaml", Place(PathKind.SITE, "acme", "acme")),
        ("sites/acme/environments/staging.yaml", Place(PathKind.ENVIRONMENT, "acme", "staging")),
        ("intents/acme/x.yaml", Place(PathKind.INTENT, "acme", "x")),
        ("intents/acme/Bad Name.yaml", Place(PathKind.INTENT, "acme", "Bad Name")),
        ("status/acme/site.yaml", Place(PathKind.SITE_RECORD, "acme", "acme")),
        ("status/acme/environments/staging.yaml", Place(PathKind.ENVIRONMENT_RECORD, "acme", "staging")),
        (f"status/acme/jobs/2026-01/{ID}.yaml", Place(PathKind.JOB_RECORD, "acme", ID)),
        (f"status/acme/drift-checks/2026-12/{ID}.yaml", Place(PathKind.DRIFT_CHECK_RECORD, "acme", ID)),
        (f"status/acme/backups/2026-01/{ID}.yaml", Place(PathKind.BACKUP_RECORD, "acme", ID)),
        ("status/acme/ended.txt", Place(PathKind.ENDED, "acme")),
    ],
)
def test_the_layout_is_known(path: str, place: Place) -> None:
    assert find_place(path) == place


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("README.md", PathKind.OTHER),
        (".github/workflows/check.yaml", PathKind.OTHER),
        ("intents/acme/README.md", PathKind.OTHER),
        ("intents/.gitkeep", PathKind.OTHER),
        ("intents/x.yaml", PathKind.MISPLACED),
        ("intents/acme/x.yml", PathKind.MISPLACED),
        ("intents/acme/deep/x.yaml", PathKind.MISPLACED),
        (f"status/acme/jobs/2026-13/{ID}.yaml", PathKind.MISPLACED),
        ("status/acme/jobs/2026-01/x.yaml", PathKind.MISPLACED),
        ("intents/../pressluft.yaml", PathKind.REFUSED),
        ("intents/acme/..", PathKind.REFUSED),
        ("/pressluft.yaml", PathKind.REFUSED),
        ("intents//x.yaml", PathKind.REFUSED),
        ("intents/acme/x\n.yaml", PathKind.REFUSED),
        ("intents/acme/x\x1b[0m.yaml", PathKind.REFUSED),
        ("intents/acme/\udce9.yaml", PathKind.REFUSED),
        ("intents\\acme\\x.yaml", PathKind.REFUSED),
        ("", PathKind.REFUSED),
    ],
)
def test_what_is_not_in_the_layout_is_told_apart(path: str, kind: PathKind) -> None:
    assert classify_path(path) is kind
