"""An archive of short files through the command, which is killed again and again; see `bench.archive.__main__`."""
