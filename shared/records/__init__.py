"""Job records and their state machine, in Redis."""

from shared.records.pieces import SPLIT, STITCH, Claim, Kind, Piece
from shared.records.store import JobRecords, LostAgain, Refusal, connect

__all__ = ["SPLIT", "STITCH", "Claim", "JobRecords", "Kind", "LostAgain", "Piece", "Refusal", "connect"]
