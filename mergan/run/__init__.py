"""A run: how it is put together, started, resumed, and what it leaves."""
