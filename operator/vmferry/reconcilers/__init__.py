"""The reconcilers: a state machine a kind, pure: (object, world, now, policy) to a Decision."""
