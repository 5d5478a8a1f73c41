"""The output of runs and reports: the run folder, plots, tables, loggers, and reading them back."""
