"""Thousands of documents that nearly make sense; `make fuzz` tries 100,000."""

from __future__ import annotations

import os
from random import Random

import pytest

import tests.fuzz.judge as judging
from tests.fuzz.corpus import Corpus
from tests.fuzz.judge import judge
from tests.unit.schemas.documents import PROMOTION, PROMOTION_PATH

TIMES = int(os.environ.get("PRESSLUFT_FUZZ_DOCUMENTS", "2000"))


def test_no_document_breaks_the_reader_and_the_schema_agrees_with_it() -> None:
    corpus = Corpus(Random(1))
    known = len(corpus.documents)
    corpus.run(TIMES)
    assert corpus.broken == []
    assert 0 < corpus.accepted < corpus.tried
    assert len(corpus.documents) > known, "nothing new was ever reached"


def test_a_document_that_only_one_of_them_takes_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judge(PROMOTION_PATH, PROMOTION).broken == []
    monkeypatch.setattr(judging, "does_schema_take", lambda *_: False)
    assert judge(PROMOTION_PATH, PROMOTION).broken == ["read, and refused by the JSON Schema"]
