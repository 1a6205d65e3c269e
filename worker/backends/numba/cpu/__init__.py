"""What kernels are written in and run on: compiled loops, vectors, matrix products, memory and threads."""
