"""A cut-over as data: all that whoever finishes or reverses it needs, kept in the job's journal before it starts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Mapping, Tuple

from ansible_collections.pressluft.wordpress.plugins.module_utils.environment import Environment
from ansible_collections.pressluft.wordpress.plugins.module_utils.exchange import Exchange
from ansible_collections.pressluft.wordpress.plugins.module_utils.option_merge import OptionRows
from ansible_collections.pressluft.wordpress.plugins.module_utils.place import Place, load_place

PROMOTION, ROLLBACK, RESTORE = "promotion", "rollback", "restore"

# The program's durable steps, each the last one before a kill -9 in some test: `Bench.on_step` is told them in this
# order. What is new on the way belongs here, or no test kills it there.
_TO_VERDICT = (
    "started",
    "verified",
    "prepared",
    "renamed",
    "switched",
    "reloaded",
    "carried",
    "purged",
    "judged",
)
TO_HEALTHY = (
    *_TO_VERDICT,
    "baseline advanced",
    "release recorded",
    "replaced dropped",
    "end recorded",
)
TO_REVERSED = (
    *_TO_VERDICT,
    "prepared back",
    "renamed back",
    "switched back",
    "reloaded",
    "carried",
    "purged",
    "writes saved",
    "staged dropped",
    "end recorded",
)
TO_GIVEN_UP = ("started", "giving up", "staged dropped")
FIRST_LIVE_STEP = "renamed"
"""From here on a recovery goes forward; before it, it gives up."""


@dataclass(frozen=True)
class Cut:
    """One exchange of tables and one switch of releases on `environment`, and how to know that they are right.

    `options_table` is the real name of the options table where it is exchanged, else empty; `named_options` are
    the rows that do not stay as production has them. `expected` are production's digests by resource key
    (`table:x`) that must still hold right before the RENAME; `installed` those of what comes. `unchecked` are
    keys that may differ from `expected` all the same. `kept_job` is the earlier cut-over that ends with this one:
    replaced by a promotion, undone by a rollback. What is replaced is kept `keep_old` seconds. `baseline_id` is what
    the source's baseline must be to be advanced, empty where the controller knows of none.

    A restore replaces everything: all tables, the release (`release_old` is empty where none is served) and the
    `places` that no release owns. Its `expected` are the tables' digests before the last backup of them began.
    """

    kind: str
    environment: Environment
    source_id: str
    source_url: str
    exchange: Exchange
    options_table: str
    named_options: Tuple[str, ...]
    release_old: str
    release_new: str
    expected: Mapping[str, str]
    installed: Mapping[str, str]
    unchecked: Tuple[str, ...]
    protection: Mapping[str, Tuple[str, ...]]
    kept_job: str
    keep_old: int
    baseline_id: str = ""
    places: Tuple[Place, ...] = ()

    @property
    def is_staged(self):
        """Whether what comes was made for this cut-over, rather than kept from an earlier one."""
        return self.kind != ROLLBACK

    @property
    def options(self):
        """The options table on its way in; None where it is not exchanged."""
        return self._make_options(self.exchange.incoming, self.exchange.outgoing)

    @property
    def options_back(self):
        """The options table on its way back."""
        return self._make_options(self.exchange.outgoing, self.exchange.incoming)

    def _make_options(self, incoming, retired):
        if not self.options_table:
            return None
        return OptionRows(self.exchange.live, incoming, retired, self.options_table, self.named_options)


def dump_cut(cut):
    """The cut as JSON."""
    return dataclasses.asdict(cut)


def load_cut(content):
    """The cut that `dump_cut` wrote."""
    fields = dict(content)
    environment = dict(fields["environment"], health_urls=tuple(fields["environment"]["health_urls"]))
    exchange = fields["exchange"]
    fields["environment"] = Environment(**environment)
    fields["exchange"] = Exchange(
        **dict(exchange, tables_in=tuple(exchange["tables_in"]), tables_out=tuple(exchange["tables_out"]))
    )
    fields["named_options"] = tuple(fields["named_options"])
    fields["unchecked"] = tuple(fields["unchecked"])
    fields["places"] = tuple(load_place(place) for place in fields.get("places", ()))
    return Cut(**fields)
