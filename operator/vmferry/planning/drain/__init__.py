"""The drain plan: the target of each server of a host, and the order of the moves; `plan` combines the parts."""
