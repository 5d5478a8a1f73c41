"""What mergan asks of the operating system: files, signals, standard streams, the processor."""
