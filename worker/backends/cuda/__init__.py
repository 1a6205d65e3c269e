"""PyTorch on a CUDA device: the layout, the precisions and the kernels that suit its matrix units."""

from worker.backends.cuda.backend import CudaBackend

__all__ = ["CudaBackend"]
