"""The cloud: as plain data (`model`), behind one client (`nova`), in one shared view (`observer`)."""
