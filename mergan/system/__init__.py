"""Access to the operating system: files, signals, standard streams, the processor."""
