"""Runs: how they are built, started and resumed, and what they write."""
