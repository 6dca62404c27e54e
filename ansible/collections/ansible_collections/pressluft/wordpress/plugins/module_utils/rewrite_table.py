"""The table of replacements that takes a site from one address and document root to another."""

from __future__ import annotations

import re
from typing import List, NamedTuple, Tuple
from urllib.parse import urlsplit

_IP_ADDRESS = re.compile(r"[0-9.]+")


class _Site(NamedTuple):
    scheme: str
    place: str  # host[:port][/path], without a slash at the end


def make_url_replacements(
    source_url: str, target_url: str, source_root: str, target_root: str
) -> List[Tuple[bytes, bytes]]:
    """Pairs of old and new text for `Rewriter`, in their plain form: the escaped ones are the engine's matter.

    Full addresses of either scheme (they go to the target's if the two sites differ in it, else keep their own),
    protocol-relative ones, the bare host[:port][/path] where it is distinctive, and the document root. An empty
    root leaves paths out. Raises ValueError for an address that is not http(s) or a root that is not absolute.
    """
    source, target = _read_url(source_url), _read_url(target_url)
    pairs = [
        (
            f"{scheme}://{source.place}",
            f"{scheme if source.scheme == target.scheme else target.scheme}://{target.place}",
        )
        for scheme in ("https", "http")
    ]
    pairs.append((f"//{source.place}", f"//{target.place}"))
    if _is_distinctive(source.place):
        pairs.append((source.place, target.place))
    if source_root and target_root:
        pairs.append((_read_root(source_root), _read_root(target_root)))
    return [(old.encode(), new.encode()) for old, new in pairs]


def _read_url(url: str) -> _Site:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not the address of a site: {url!r}")
    host = parts.netloc.rpartition("@")[2]
    return _Site(parts.scheme, host + parts.path.rstrip("/"))


def _is_distinctive(place: str) -> bool:
    """Whether a bare name means the site: `localhost` and `127.0.0.1` stand for much else (a database, a visitor)."""
    return ":" in place or "/" in place or ("." in place and not _IP_ADDRESS.fullmatch(place))


def _read_root(root: str) -> str:
    path = root.rstrip("/")
    if not path.startswith("/"):
        raise ValueError(f"not an absolute path below /: {root!r}")
    return path
