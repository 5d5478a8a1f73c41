"""Kinds of streams: which classes are learned when. Every kind makes the same Scenario."""
