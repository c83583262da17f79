"""The track record in words: the only confidence that is shown."""

from __future__ import annotations

import pytest

from receiver.domain.history import Track


@pytest.mark.parametrize(
    ("track", "said"),
    [
        (Track(), "never run for this alert before"),
        (Track(not_run=2), "never run for this alert before, 2 times proposed"),
        (Track(fixed=1), "fixed this alert in 1 of 1 run before"),
        (Track(fixed=3, not_fixed=1, not_run=5), "fixed this alert in 3 of 4 runs before"),
    ],
)
def test_what_a_track_record_says(track: Track, said: str) -> None:
    assert track.said == said
