"""Networks on a CPU by kernels that are compiled on this machine, for its vector instructions."""
