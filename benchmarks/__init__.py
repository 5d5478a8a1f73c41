"""How fast training is, as ratios inside one run: `make benchmark` (docs/performance.md)."""
