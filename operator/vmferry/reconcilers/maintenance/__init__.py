"""The state machine of a HostMaintenance."""
