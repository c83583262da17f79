"""The lines that a run says: several threads speak, and each line comes whole."""

from __future__ import annotations

import io

from receiver.adapters.runner import child


class Pieces(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return super().write(text)


def test_a_line_is_one_write() -> None:
    out = Pieces()
    child._say(out, {"limit": "scratch_mb"})
    child._say(out, {"event": {"text": "a\nb"}})
    assert out.pieces == ['{"limit": "scratch_mb"}\n', '{"event": {"text": "a\\nb"}}\n']
