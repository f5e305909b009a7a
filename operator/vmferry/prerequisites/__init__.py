"""Prerequisites: one named check a file, a table of which type runs which (`chains`), all results at once."""
