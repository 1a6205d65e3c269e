"""When what goes wrong: drawn from a seed before anything begins."""

import random
from dataclasses import dataclass
from typing import Literal

Act = Literal["kill a worker", "kill the API", "kill Redis", "storage refuses", "storage is silent"]


@dataclass(frozen=True)
class Event:
    """
    One thing that goes wrong.

    Attributes:
        at: seconds after the begin
        act: what happens
        seconds: how long it lasts

    """

    at: float
    act: Act
    seconds: float = 0.0


@dataclass(frozen=True)
class Amounts:
    """How often what happens; those of a default run are more than the least that is asked of one."""

    kills: int = 55
    api_kills: int = 2
    redis: int = 3
    storage: int = 3


def draw(seed: int, seconds: float, amounts: Amounts) -> list[Event]:
    """Spread events over so many seconds: each has its share of the time, and comes at random within it."""
    dice = random.Random(seed)
    outages: tuple[Act, ...] = ("storage refuses", "storage is silent")
    events = [Event(at, "kill a worker") for at in _spread(dice, seconds, amounts.kills)]
    events += [Event(at, "kill the API") for at in _spread(dice, seconds, amounts.api_kills)]
    events += [Event(at, "kill Redis", dice.uniform(0.5, 3.0)) for at in _spread(dice, seconds, amounts.redis)]
    for number, at in enumerate(_spread(dice, seconds, amounts.storage)):
        events.append(Event(at, outages[number % len(outages)], dice.uniform(3.0, 6.0)))
    return sorted(events, key=lambda event: event.at)


def _spread(dice: random.Random, seconds: float, count: int) -> list[float]:
    return [(number + dice.uniform(0.1, 0.9)) * seconds / count for number in range(count)]
