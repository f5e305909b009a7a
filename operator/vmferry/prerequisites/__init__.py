"""Prerequisites: one named check per file, and the table of checks by migration type (`chains`). Pure."""
