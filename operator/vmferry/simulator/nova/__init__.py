"""The compute API v2.1 with its microversions."""
