"""The reconcilers, one state machine per kind. Each is a pure function: (object, world, now, policy) -> Decision."""
