"""When the next attempt is made."""

import random
from collections.abc import Sequence

#: What a receiver may ask for: longer would be never.
_LONGEST_RETRY_AFTER = 86_400.0
#: Receivers that were away together do not come back to all of it together.
_JITTER = 0.1


def next_delay(schedule: Sequence[float], attempts: int, *, retry_after: float | None = None) -> float | None:
    """Tell how many seconds after the attempt that failed the next one is made; None if it was the last.

    Args:
        schedule: seconds before each attempt, the first included.
        attempts: made so far.
        retry_after: what the receiver asked for; it is waited for, up to a day.
    """
    if attempts >= len(schedule):
        return None
    delay = schedule[attempts] * random.uniform(1.0, 1.0 + _JITTER)
    return max(delay, min(retry_after or 0.0, _LONGEST_RETRY_AFTER))
