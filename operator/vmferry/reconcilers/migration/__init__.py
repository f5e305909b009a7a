"""VMMigration: the state machine of one move."""
