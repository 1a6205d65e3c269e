"""Write Swift's rings, for one node on loopback. Runs with Swift's own Python: -P rings.py FOLDER KIND=PORT…

Without -P, the module swift beside this file would hide Swift itself.
"""

import logging
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")  # of libraries that Swift imports

from swift.common.ring import RingBuilder  # noqa: E402

logging.disable(logging.CRITICAL)  # one device is fewer than it likes


def write_ring(folder: Path, kind: str, port: int) -> None:
    """One replica on one device, `d1`."""
    path = folder / f"{kind}.ring.gz"
    builder = RingBuilder(3, 1, 0)
    address = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
    builder.add_dev({"region": 1, "zone": 1, "device": "d1", "weight": 1, "meta": "", **address})
    builder.rebalance(seed="1")
    builder.get_ring().save(str(path))


if __name__ == "__main__":
    for argument in sys.argv[2:]:
        name, _, number = argument.partition("=")
        write_ring(Path(sys.argv[1]), name, int(number))
