"""Ways to run the networks: libraries, devices, precisions, behind one interface."""
