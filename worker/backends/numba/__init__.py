"""Networks on a CPU by kernels compiled on this machine: Winograd convolutions between matrix products of OpenBLAS."""
