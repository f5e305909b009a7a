"""HostMaintenance: the state machine of one host's maintenance."""
