"""The cloud: its data (`model`), its only client (`nova`), and the shared view that is kept up to date (`observer`)."""
