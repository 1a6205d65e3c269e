import pytest

from shared.presence import Presence
from shared.records import connect
from shared.settings import Settings
from tests.support.ports import free_port
from worker.main import _Beat


def test_a_worker_tells_that_it_lives_until_it_ends(clean_redis):
    presence = Presence(connect(clean_redis))
    beat = _Beat(Settings(redis_url=clean_redis), ["audio"], None)
    with beat:
        while not presence.count()["audio"]:
            pass
    assert presence.count() == {"audio": 0, "restore": 0, "vocode": 0}


@pytest.mark.timeout(20)
def test_a_worker_ends_also_while_redis_is_away():
    with _Beat(Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0"), ["audio"], None):
        pass
