"""The same convolutions in fewer operations on a CPU, held by tests against PyTorch's own."""
