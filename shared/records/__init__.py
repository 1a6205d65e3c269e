"""Job records and their state machine, in Redis."""

from shared.records.efforts import Effort
from shared.records.events import Change, Events, Position
from shared.records.pieces import SPLIT, STITCH, Claim, Kind, Lane, Message, Piece
from shared.records.repairs import Repairs, Suspect
from shared.records.retention import Retention
from shared.records.script import connect
from shared.records.store import AwayTooOften, Creation, JobRecords, LostAgain, Refusal, Terms
from shared.records.uploads import Upload, Uploads

__all__ = [
    "SPLIT",
    "STITCH",
    "AwayTooOften",
    "Change",
    "Claim",
    "Creation",
    "Effort",
    "Events",
    "JobRecords",
    "Kind",
    "Lane",
    "LostAgain",
    "Message",
    "Piece",
    "Position",
    "Refusal",
    "Repairs",
    "Retention",
    "Suspect",
    "Terms",
    "Upload",
    "Uploads",
    "connect",
]
