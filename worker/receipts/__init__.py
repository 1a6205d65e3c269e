"""The receipt of a result, what it is made of, and the output check."""
