"""Random deaths, outages and lost messages against the whole service; see `bench.chaos.__main__`."""
