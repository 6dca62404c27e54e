"""The node's time, and how far it may be from the controller's."""

from __future__ import annotations

from datetime import datetime, timezone

from ansible_collections.pressluft.wordpress.plugins.module_utils.node_error import NodeError

MAX_SKEW_SECONDS = 30  # spec.md §4, gate 2


def read_now():
    """Now in UTC as `2026-01-02T03:04:05.678901Z`."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text):
    """An aware datetime from ISO 8601 with `Z` or an offset. Raises `ValueError`."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError("{0} has no time zone".format(text))
    return moment


def check_skew(controller_time):
    """Refuse a node whose clock is off by more than 30 s; an empty time is not compared."""
    if not controller_time:
        return
    skew = (datetime.now(timezone.utc) - parse_time(controller_time)).total_seconds()
    if abs(skew) > MAX_SKEW_SECONDS:
        raise NodeError(
            "ANSIBLE_HOST_FAILED",
            "the node's clock is {0:+.0f} s off the controller's".format(skew),
            "Let the node's clock be set by NTP (timedatectl set-ntp true), then run the job again.",
            retry=True,
        )
