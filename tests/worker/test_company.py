import threading
import time

import pytest

from worker.attempts.company import Company


def test_pieces_work_side_by_side_and_a_suspect_by_itself():
    company, inside, most, alone = Company(), 0, 0, []
    lock = threading.Lock()

    def work(*, suspect):
        nonlocal inside, most
        with company.join(alone=suspect):
            with lock:
                inside += 1
                most = max(most, inside)
                if suspect:
                    alone.append(inside)
            time.sleep(0.02)
            with lock:
                if suspect:
                    alone.append(inside)
                inside -= 1

    threads = [threading.Thread(target=work, kwargs={"suspect": number % 4 == 2}) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert alone == [1] * 8
    assert most > 1


class Guest:
    """A thread that joins, tells so, and stays until it is sent away."""

    def __init__(self, company, *, suspect):
        self.inside, self.leave = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.run, args=(company, suspect), daemon=True)
        self.thread.start()

    def run(self, company, suspect):
        with company.join(alone=suspect):
            self.inside.set()
            self.leave.wait(60)


def wait_for(condition):
    until = time.monotonic() + 60
    while not condition() and time.monotonic() < until:
        time.sleep(0.001)
    assert condition()


def test_a_suspect_waits_for_those_at_work_and_nobody_joins_meanwhile():
    company = Company()
    first = Guest(company, suspect=False)
    assert first.inside.wait(60)
    suspects = [Guest(company, suspect=True) for _ in range(2)]
    wait_for(lambda: company._waiting == 2)
    late = [Guest(company, suspect=False) for _ in range(2)]
    time.sleep(0.05)
    assert not any(one.inside.is_set() for one in [*suspects, *late])
    first.leave.set()
    wait_for(lambda: any(one.inside.is_set() for one in suspects))
    one, other = sorted(suspects, key=lambda guest: guest.inside.is_set(), reverse=True)
    time.sleep(0.05)
    assert not any(guest.inside.is_set() for guest in [other, *late])
    one.leave.set()
    assert other.inside.wait(60)
    assert not any(guest.inside.is_set() for guest in late)
    other.leave.set()
    assert all(guest.inside.wait(60) for guest in late), "side by side"
    for guest in late:
        guest.leave.set()


def test_who_breaks_inside_lets_the_others_in():
    company = Company()
    for suspect in (True, False, True):
        with pytest.raises(ValueError, match="broken"), company.join(alone=suspect):
            raise ValueError("broken")
    with company.join(alone=False), company.join(alone=False):
        pass
