"""The search for good settings: what is searched, the study that Optuna keeps, its trials, the results."""
