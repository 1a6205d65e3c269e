"""The package and our precisions on one GPU: `python -m bench.gpu`."""
