"""Random tables: every column type, charset, key and engine, with few values that are easily mistaken for others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Kind:
    """A type: how it is declared, values for it, how one is inserted, and how a judge reads `{0}` to the last bit."""

    declared: str
    values: tuple[Any, ...]
    insert: str = "%s"
    judged: str = "HEX({0})"


@dataclass(frozen=True)
class RandomTable:
    """A table, the rows it begins with, and those it ends with."""

    kinds: tuple[Kind, ...]
    key: str
    engine: str
    rows: tuple[Row, ...]
    changed: tuple[Row, ...]

    def define(self, name: str) -> str:
        """Return the statement that creates it."""
        columns = ", ".join(f"c{number} {kind.declared}" for number, kind in enumerate(self.kinds))
        return f"CREATE TABLE {name} ({KEYS[self.key]}{columns}) CHARACTER SET utf8mb4 {self.engine}"

    def insert(self, name: str) -> str:
        """Return the statement that adds a row; what a column refuses becomes what the server makes of it."""
        places = ", ".join(["%s"] * KEY_COLUMNS[self.key] + [kind.insert for kind in self.kinds])
        names = ["id", "part"][: KEY_COLUMNS[self.key]] + [f"c{number}" for number in range(len(self.kinds))]
        return f"INSERT IGNORE INTO {name} ({', '.join(names)}) VALUES ({places})"

    def judge(self, name: str) -> str:
        """Return a query for all there is in it, by other means than the digest's."""
        key = [f"HEX({column})" for column in ("id", "part")[: KEY_COLUMNS[self.key]]]
        columns = [kind.judged.format(f"c{number}") for number, kind in enumerate(self.kinds)]
        return f"SELECT {', '.join(key + columns)} FROM {name}"


KEYS = {
    "none": "",
    "int": "id INT, PRIMARY KEY (id), ",
    "unsigned": "id BIGINT UNSIGNED, PRIMARY KEY (id), ",
    "composite": "id INT, part VARCHAR(9) COLLATE utf8mb4_unicode_520_ci, PRIMARY KEY (part, id), ",
    "int-first": "id INT, part VARBINARY(9), PRIMARY KEY (id, part), ",
    "ci-string": "id VARCHAR(9) COLLATE utf8mb4_unicode_520_ci, PRIMARY KEY (id), ",
    "utf16-string": "id CHAR(9) CHARACTER SET utf16, PRIMARY KEY (id), ",
    "bytes": "id VARBINARY(9), PRIMARY KEY (id), ",
    "moment": "id DATETIME(3), PRIMARY KEY (id), ",
    "decimal": "id DECIMAL(9,2), PRIMARY KEY (id), ",
    "prefix": "id VARCHAR(20), PRIMARY KEY (id(3)), ",
    "unique": "id INT NOT NULL, UNIQUE KEY (id), ",
}
KEY_COLUMNS = {name: 2 if "part" in key else min(len(key), 1) for name, key in KEYS.items()}
_IDS: dict[str, tuple[Any, ...]] = {
    "ci-string": ("a", "A", "b", "ä", "a ", "", "'\\", "a:1"),
    "utf16-string": ("a", "b", "ä", "", "\U0001f600", "'"),
    "bytes": (b"a", b"A", b"\xff", b"", b"a\0", b"'\\"),
    "moment": ("2024-01-01", "2024-01-01 00:00:00.001", "1000-01-01", "9999-12-31 23:59:59.999"),
    "prefix": ("abc", "abcd", "abd", "", "ab"),
    "unsigned": (0, 1, 16383, 16384, 1 << 20, 1 << 63, (1 << 64) - 1),
}
_NUMBERS = (-2147483648, -16384, -1, 0, 1, 2, 16383, 16384, 70000, 2147483647)
_PARTS = ("a", "A", "b", "", "'", "ä")
_WORDS = (
    None,
    "",
    "a",
    "A",
    "ä",
    "a ",
    " a",
    "N",
    "NULL",
    "0",
    "00",
    "1:a",
    "a,",
    "a:",
    "é",
    "?",
    "ж",
    "я",
    "x" * 260,
)
_BYTES = (None, b"", b"a", b"a\0", b"\0", b"\xfb", b"\xfe\0\0\0\0", b"\xff", b"1:a", b"x" * 260)
_REALS = (None, 0, 1e-40, 0.1, 0.10000001, 0.3, 0.30000000000000004, 1, -1, 16777214, 16777215, 3.4e38)
_DATES = (None, "0000-00-00", "2024-02-29", "2024-02-28", "9999-12-31", "2024-02-29 01:30:00.000001", "junk")
_TIMES = (None, "00:00:01", "-00:00:01", "838:59:59", "00:00:01.000001", "00:00:00")
_SHAPES = (None, "POINT(1 2)", "POINT(2 1)", "POINT(1 2.0000000000000004)")
_CHARSETS = ("utf8mb4", "latin1", "utf16", "ucs2", "cp1251", "utf8mb3", "sjis")
_REAL = "CAST({0} AS DOUBLE) + 0e0"
_SHAPE = "CONCAT(ST_SRID({0}), HEX(ST_AsBinary({0})))"

_INTEGERS = [
    *(Kind(f"{name}INT{sign}", (None, -1, 0, 1, 2, 127), judged="{0}")
      for name in ("TINY", "SMALL", "MEDIUM", "", "BIG") for sign in ("", " UNSIGNED")),
    Kind("BIGINT UNSIGNED", (None, 0, (1 << 63) - 1, 1 << 63, (1 << 64) - 1), judged="{0}"),
    Kind("INT(9) ZEROFILL", (None, 0, 1, 10), judged="{0}"),
    Kind("BOOLEAN NOT NULL", (0, 1), judged="{0}"),
    Kind("DECIMAL(20,10)", (None, "0", "-0.0000000001", "0.0000000001", "1"), judged="{0}"),
    Kind("YEAR", (None, 0, 1901, 2024), judged="{0} + 0"),
]  # fmt: skip
_TEXTS = [
    Kind("LONGTEXT NOT NULL", tuple(word for word in _WORDS if word is not None)),
    *(Kind(f"{name} CHARACTER SET {charset}", _WORDS) for charset in _CHARSETS
      for name in ("CHAR(9)", "VARCHAR(99)", "TEXT")),
    Kind("JSON", (None, "{}", '{"a": 1}', '{"a":1}', "[]", '"ä"')),
    Kind("VARCHAR(9) COLLATE utf8mb4_unicode_520_ci INVISIBLE", _WORDS),
]  # fmt: skip
_OTHERS = [
    Kind("UUID", (None, "00000000-0000-0000-0000-000000000000", "123e4567-e89b-12d3-a456-426655440000")),
    Kind("INET4", (None, "0.0.0.0", "0.0.0.1")),
    Kind("INET6", (None, "::", "::1", "::ffff:1.2.3.4")),
    Kind("POINT", _SHAPES, insert="ST_GeomFromText(%s, 0)", judged=_SHAPE),
    Kind("GEOMETRY", _SHAPES, insert="ST_GeomFromText(%s, 4326)", judged=_SHAPE),
]
FAMILIES = [
    _INTEGERS,
    _TEXTS,
    [Kind(name, _REALS, judged=_REAL) for name in ("FLOAT", "DOUBLE", "DOUBLE(12,3)")],
    [Kind(f"BIT({size})", (None, 0, 1, (1 << size) - 1), judged="BIN({0} + 0)") for size in (1, 9, 64)],
    [Kind(name, _DATES, judged="CAST({0} AS CHAR)") for name in ("DATE", "DATETIME(6)", "TIMESTAMP(3) NULL")],
    [Kind(name, _TIMES, judged="CAST({0} AS CHAR)") for name in ("TIME", "TIME(6)")],
    [Kind(name, _BYTES) for name in ("BINARY(5)", "VARBINARY(300)", "TINYBLOB", "BLOB", "LONGBLOB")],
    [Kind("ENUM('a','','A ','b')", (None, "a", "b", "", "none", 0, 1), judged="{0} + 0"),
     Kind("SET('a','b','c')", (None, "", "a", "a,c", 7, 3), judged="{0} + 0")],
    _OTHERS,
]  # fmt: skip
"""Types that are read alike; a type of many variants must not crowd out the others."""
_CHANGES = ("none", "shuffled", "removed", "added", "twice", *("traded",) * 3, *("value",) * 7)
_ENGINES = (*("ENGINE=InnoDB",) * 5, "ENGINE=InnoDB ROW_FORMAT=COMPACT", "ENGINE=MyISAM", "ENGINE=Aria")

kinds = st.sampled_from(FAMILIES).flatmap(st.sampled_from)


@st.composite
def random_tables(draw: st.DrawFn) -> RandomTable:
    """A table, and what somebody may have made of its rows: nothing, one value, two rows that traded values, ..."""
    # At least one column must not be invisible.
    seen = draw(kinds.filter(lambda kind: "INVISIBLE" not in kind.declared))
    chosen = (seen, *draw(st.lists(kinds, max_size=3)))
    key = draw(st.sampled_from(sorted(KEYS)))
    columns = [tuple(_IDS.get(key, _NUMBERS)), _PARTS][: KEY_COLUMNS[key]] + [kind.values for kind in chosen]
    row = st.tuples(*map(st.sampled_from, columns))
    rows = draw(st.lists(row, min_size=1, max_size=6))
    changed = list(rows)
    change = draw(st.sampled_from(_CHANGES))
    if change == "shuffled":
        changed = draw(st.permutations(rows))
    elif change == "added" or (change == "twice" and not rows):
        changed.insert(draw(st.integers(0, len(rows))), draw(row))
    elif rows:
        changed = _change(draw, changed, change, columns)
    return RandomTable(chosen, key, draw(st.sampled_from(_ENGINES)), tuple(rows), tuple(changed))


def _change(draw: st.DrawFn, rows: list[Row], change: str, columns: list[tuple[Any, ...]]) -> list[Row]:
    one, other = (draw(st.integers(0, len(rows) - 1)) for _row in range(2))
    place = draw(st.integers(0, len(columns) - 1))
    if change == "value":
        # Neighbours among the values are those most easily mistaken for one another.
        step = draw(st.sampled_from([-1, 1]))
        after = (columns[place].index(rows[one][place]) + step) % len(columns[place])
        rows[one] = _put(rows[one], place, columns[place][after])
    elif change == "traded":
        first, second = rows[one][place], rows[other][place]
        rows[one] = _put(rows[one], place, second)
        rows[other] = _put(rows[other], place, first)
    elif change == "removed":
        del rows[one]
    elif change == "twice":
        rows.append(rows[one])
    return rows


def _put(row: Row, place: int, value: Any) -> Row:
    return (*row[:place], value, *row[place + 1 :])
