"""What happens around the training steps: snapshot, evaluation, samples, checkpoints, progress."""
