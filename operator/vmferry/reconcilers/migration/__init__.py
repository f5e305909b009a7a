"""The state machine of a VMMigration."""
