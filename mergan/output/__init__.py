"""What a run and a report leave: the run folder, plots, tables, loggers, and reading them back."""
