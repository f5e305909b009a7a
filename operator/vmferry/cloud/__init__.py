"""The cloud: as plain data (`model`), behind one door (`nova`), in one shared view (`observer`)."""
