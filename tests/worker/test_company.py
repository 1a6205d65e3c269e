import threading
import time

from worker.company import Company


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
