"""OpenVINO on a CPU: the networks converted once, kept as files, and run in tiles of time."""
