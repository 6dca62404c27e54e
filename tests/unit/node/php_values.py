"""Random PHP values, described for the oracle to build: what WordPress and its plugins put into databases."""

from __future__ import annotations

import base64
import random
from typing import Any

Node = list[Any]

_WORDS = [
    "hello",
    "Größe",
    "日本語",
    "😀",
    "wp_options",
    'a "quoted" word',
    "it's",
    "<b>",
    "{",
    "}",
    ";",
    "a:1:{",
    "s:5:",
]
_WORDS += [
    "\n",
    "\t",
    "\0",
    "\\",
    "%20",
    "&amp;",
    "\u2028",
    "50%",
    "O:8:",
    '";',
    "5",
    "-1.5",
    "é",
    "C:\\dir ",
]
_DECOYS = [
    "old.testing.com",
    "my-old.test",
    "xold.test",
    "info@old.test",
    "old.test:8080",
    "//www.old.test/x",
]
_DECOYS += ["/var/www/older", "/srv/var/www/old", "127.0.0.1:80812", "https://old.test.example.com/"]
_BEFORE = [" ", '"', "<", "(", "=", "\n", "é ", "“", "'", "日", ">"]
_AFTER = [" ", '"', ">", ")", "&", "\n", " é", "”", "'", "。", "<", ". "]
_SUFFIXES = ["/", "/wp-content/uploads/2024/01/ü.jpg", "/?p=1&x=a b", "/a/b.php:12", "/日本"]
_BARE = 3  # the place of the address that has no slash of its own
_JSON_FLAGS = [0, 0, 64, 256, 64 | 256, 1 | 8, 128, 64 | 128]  # slashes, unicode, hex tags and quotes, pretty


class ValueMaker:
    """Makes one described value after the other from one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._marks = 0
        self._keys = 0

    def make(self) -> Node:
        """A value for `serialize()`: mostly an array or object, now and then a bare string."""
        if self._random.random() < 0.1:
            return self._string(0, in_json=False)
        return self._container(0, in_json=False)

    def _container(self, depth: int, *, in_json: bool) -> Node:
        kind = "array" if in_json else self._random.choice(["array", "array", "array", "object", "list"])
        marks: list[int] = []
        size = self._random.randint(0, 8 if depth < 2 else 3)
        items = [[self._key(kind), self._item(depth + 1, marks, in_json=in_json)] for _ in range(size)]
        if kind == "object":
            names = ["hidden", "inner", "open", "hidden", "second"]
            for at, item in enumerate(items[: len(names)]):
                if self._random.random() < 0.7:
                    item[0] = ["scalar", names[at]]
        return [kind, items]

    def _key(self, kind: str) -> Node:
        self._keys += 1
        roll = self._random.random()
        if kind != "object" and roll < 0.3:
            return ["scalar", self._keys]
        if roll < 0.5:
            suffix = f"/key{self._keys}"
            return ["text", [["address", self._random.randrange(5), suffix, []]]]
        return ["scalar", f"key{self._keys}"]

    def _item(self, depth: int, marks: list[int], *, in_json: bool) -> Node:
        roll = self._random.random()
        if not in_json and roll < 0.15:
            self._marks += 1
            marks.append(self._marks)
            return ["mark", self._marks, self._value(depth, in_json=False)]
        if marks and roll < 0.4:
            return [self._random.choice(["again", "same"]), self._random.choice(marks)]
        return self._value(depth, in_json=in_json)

    def _value(self, depth: int, *, in_json: bool) -> Node:
        roll = self._random.random()
        if roll < 0.25 and depth < 5:
            return self._container(depth, in_json=in_json)
        if roll < 0.4:
            return self._scalar(in_json=in_json)
        if roll < 0.48 and not in_json:
            return self._sealed(depth)
        return self._string(depth, in_json=in_json)

    def _scalar(self, *, in_json: bool) -> Node:
        choices: list[Node] = [
            ["null"],
            ["scalar", self._random.choice([True, False])],
            ["scalar", self._random.randint(-(2**40), 2**40)],
            ["float", self._random.choice(["0.1", "-1.0E+25", "1.5e-10", "3", str(self._random.random())])],
        ]
        if not in_json:
            choices += [["enum", "h"], ["enum", "s"], ["float", "1e999"]]
        return self._random.choice(choices)

    def _sealed(self, depth: int) -> Node:
        roll = self._random.random()
        if roll < 0.4:
            return ["sealed", ["serialized", self._value(depth + 1, in_json=False)]]
        if roll < 0.6:
            return ["sealed", ["json", self._container(depth + 1, in_json=True), 0]]
        if roll < 0.8:
            return ["sealed", ["text", [self._address()]]]
        return ["sealed-away", ["text", [self._address()]]]

    def _string(self, depth: int, *, in_json: bool) -> Node:
        roll = self._random.random()
        if depth < 5 and roll < 0.12:
            return ["json", self._container(depth + 1, in_json=True), self._random.choice(_JSON_FLAGS)]
        if depth < 5 and roll < 0.24:
            # Names of private properties hold NUL, which JSON takes; other bytes than UTF-8 it does not.
            return ["serialized", self._container(depth + 1, in_json=in_json)]
        if depth < 5 and roll < 0.28:
            inner: Node = ["serialized", self._container(depth + 1, in_json=in_json)]
            return ["percent", inner, self._random.choice([True, False])]
        if depth < 5 and roll < 0.32:
            how = self._random.choice(["cut", "longer", "miscounted", "slashed"])
            return ["broken", ["array", [[["scalar", "k"], ["text", [self._address()]]]]], how]
        return self._text(in_json=in_json)

    def _text(self, *, in_json: bool) -> Node:
        parts: list[Any] = [_literal("text ")]
        for _ in range(self._random.randint(0, 3)):
            parts += [self._filler(in_json=in_json), _literal(self._random.choice(_BEFORE)), self._address()]
            parts.append(_literal(self._random.choice(_AFTER)))
        parts.append(self._filler(in_json=in_json))
        return ["text", [self._address()] if self._random.random() < 0.3 else parts]

    def _filler(self, *, in_json: bool) -> Node:
        words = [self._random.choice(_WORDS) for _ in range(self._random.randint(0, 4))]
        if self._random.random() < 0.3:
            words.append(f" {self._random.choice(_DECOYS)} ")
        raw = " ".join(words).encode()
        if not in_json and self._random.random() < 0.1:
            raw += b" \xff\xfe\x80 "
        return ["literal", base64.b64encode(raw + b" ").decode()]

    def _address(self) -> Node:
        place = self._random.randrange(5)
        escape = self._random.choice(
            [[], [], [], ["slash"], ["json"], ["percent"], ["percent-lower"], ["json", "json"]]
        )
        suffixes = _SUFFIXES if escape and place == _BARE else [*_SUFFIXES, ""]
        return ["address", place, self._random.choice(suffixes), escape]


def _literal(text: str) -> Node:
    return ["literal", base64.b64encode(text.encode()).decode()]
