"""Passes of the feed are one slice, however slow the machine is."""

import pytest


@pytest.fixture(autouse=True)
def _one_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.rounds.SLICE_SECONDS", 60)
    monkeypatch.setattr("actors.fanout.SLICE_SECONDS", 60)
