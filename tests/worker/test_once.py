import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from worker.engine.once import Once


def test_what_many_ask_for_at_once_is_made_once():
    made, begun, go_on = [], threading.Event(), threading.Event()

    def make():
        begun.set()
        assert go_on.wait(5)
        made.append(threading.current_thread())
        return object()

    once = Once(make)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(once.get) for _ in range(4)]
        begun.wait(5)
        assert not any(one.done() for one in asked)
        go_on.set()
        assert len({id(one.result(5)) for one in asked}) == 1
    assert once.get() is asked[0].result()
    assert len(made) == 1


def test_who_waited_for_what_failed_fails_with_it_and_the_next_tries_again():
    tries, begun, go_on = [], threading.Event(), threading.Event()

    def make():
        tries.append(1)
        begun.set()
        assert go_on.wait(5)
        if len(tries) == 1:
            raise OSError("the first time")
        return "made"

    once = Once(make)
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(once.get)]
        begun.wait(5)
        asked += [pool.submit(once.get) for _ in range(2)]
        while pool._work_queue.qsize():
            pass
        threading.Timer(0.2, go_on.set).start()
        for one in asked:
            with pytest.raises(OSError, match="the first time"):
                one.result(5)
    assert len(tries) == 1
    assert once.get() == "made"
    assert len(tries) == 2
