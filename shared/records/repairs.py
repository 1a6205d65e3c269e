"""What the reconciler asks of the records: who leads, and what must be sent again or ended."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import redis

from shared.records.pieces import Lane, Message, Piece
from shared.records.script import Script, messages_of

#: So much is looked at in one go: a script holds up all others.
_LIMIT = 200
#: Without a sign of life from any worker for so long, Redis was away; then leases are pardoned for as long again.
_QUIET_SECONDS, _PARDON_SECONDS = 3.0, 4.0


@dataclass(frozen=True)
class Suspect:
    """A message that may be lost: younger ones of its lane overtook it, or its queue is empty."""

    job_id: str
    piece: Piece
    lane: Lane
    number: int


class Repairs:
    """The reconciler's side of the records; every command may be repeated, and two may run at once.

    Raises:
        QueueUnavailable: from any method, if Redis cannot be reached or refuses to write.
    """

    def __init__(self, client: redis.Redis, *, prefix: str = "vfq:", attempts: int = 3) -> None:
        """Repair what lies under *prefix*; after so many *attempts* a piece fails its job."""
        self._script = Script(client, prefix=prefix)
        self._attempts = attempts

    def lead(self, role: str, token: str, *, seconds: float) -> bool:
        """Take or keep the lead in a role for so long; False if another has it."""
        milliseconds = round(seconds * 1000)
        return bool(self._script.run("lead", role, token, milliseconds, _QUIET_SECONDS, _PARDON_SECONDS))

    def resign(self, role: str, token: str) -> None:
        """Give the lead back, if one has it."""
        self._script.run("resign", role, token)

    def expired(self) -> list[Message]:
        """Take back the pieces whose lease ran out, and give what is to be sent; a last attempt fails its job."""
        return messages_of(self._script.run("expired", _LIMIT, self._attempts))

    def due(self) -> list[Message]:
        """Give what was put off until now and is to be sent."""
        return messages_of(self._script.run("due", _LIMIT))

    def expire(self) -> list[str]:
        """End the jobs whose deadline has passed; gives their ids."""
        return [str(job_id) for job_id in self._script.run("expire", _LIMIT)]

    def suspects(self, lanes: Mapping[Lane, bool]) -> list[Suspect]:
        """Tell which messages may be lost, given for each lane whether its queue is empty."""
        asked = [word for lane, empty in lanes.items() for word in (str(lane), int(empty))]
        rows = self._script.run("suspects", _LIMIT, *asked)
        found = []
        for name, lane, number in zip(*(iter(rows),) * 3, strict=True):
            job_id, piece = name.split(" ")
            found.append(Suspect(job_id, Piece.parse(piece), Lane.parse(lane), int(float(number))))
        return found

    def resend(self, lost: Iterable[Suspect]) -> list[Message]:
        """Give new messages for those that are lost; none for one that was taken meanwhile."""
        asked = [word for one in lost for word in (one.job_id, str(one.piece), str(one.lane), one.number)]
        return messages_of(self._script.run("resend", *asked)) if asked else []
