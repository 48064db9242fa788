"""What was asked of each key, what was acknowledged, and what may be there after a kill.

The rule is that of conformance/powercut/src/history.rs, for kills that are waited out: every request
has ended, acknowledged or unknown, before the server is started again.
"""
from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

RIGHT, LOST, WRONG = "right", "lost", "wrong"


class State(NamedTuple):
    """What stands at a key: bytes that follow from number and length. `None` stands for no object."""

    number: int
    length: int

    def data(self) -> bytes:
        return hashlib.shake_128(self.number.to_bytes(8, "big")).digest(self.length)


class Odd(Enum):
    """Found, but never written by anybody."""

    BYTES = "bytes that no request wrote"


@dataclass
class Key:
    """One key's requests, in the order in which its one owner sent them."""

    settled: State | None = None
    # Sent and not acknowledged since the last that was: each may have happened or not.
    unknown: list[State | None] = field(default_factory=list)
    ever: set[State] = field(default_factory=set)

    def sent(self, leaves: State | None, acknowledged: bool) -> None:
        if leaves is not None:
            self.ever.add(leaves)
        if acknowledged:
            self.settled, self.unknown = leaves, []
        else:
            self.unknown.append(leaves)

    def recognise(self, body: bytes | None) -> State | None | Odd:
        """Which of all that was ever sent these bytes are; `None`: there is no object.

        Empty and very short bodies look alike whoever sent them: what may be there comes first.
        """
        if body is None:
            return None
        states = [s for s in (self.settled, *self.unknown) if s is not None]
        fitting = (s for s in (*states, *self.ever) if s.length == len(body) and s.data() == body)
        return next(fitting, Odd.BYTES)

    def judge(self, found: State | None | Odd) -> str:
        if isinstance(found, Odd):
            return WRONG
        if found == self.settled or found in self.unknown:
            return RIGHT
        # Something older, or nothing. (All of `ever` belongs to this key.)
        return LOST

    def settle(self, found: State | None | Odd) -> None:
        """What a read has shown is there to stay: a second kill must not undo it."""
        if not isinstance(found, Odd):
            self.settled, self.unknown = found, []


def check_itself() -> None:
    """The verdicts on a history of: a acknowledged, b acknowledged, delete unknown."""
    a, b = State(1, 9), State(2, 9)
    key = Key()
    assert key.judge(None) == RIGHT and key.judge(a) == LOST
    key.sent(a, True)
    assert (key.judge(a), key.judge(None)) == (RIGHT, LOST)
    key.sent(b, False)
    assert (key.judge(a), key.judge(b), key.judge(None)) == (RIGHT, RIGHT, LOST)
    key.sent(b, True)
    assert (key.judge(a), key.judge(b)) == (LOST, RIGHT)
    key.sent(None, False)
    assert (key.judge(None), key.judge(b), key.judge(a)) == (RIGHT, RIGHT, LOST)
    assert key.recognise(a.data()) == a and key.recognise(b"x" * 9) is Odd.BYTES
    assert key.judge(Odd.BYTES) == WRONG
    key.settle(None)
    assert key.judge(b) == LOST
    for number in range(3, 99):
        key.sent(State(number, 0), True)
        assert key.judge(key.recognise(b"")) == RIGHT
    key.sent(a, True)
    assert key.judge(key.recognise(b"")) == LOST
