"""Prerequisites: one named check a file, a table of which kind runs which (`chains`), all results at once."""
