"""Convolutions with fewer operations on a CPU; tests compare them with PyTorch's own."""
