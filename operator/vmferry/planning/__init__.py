"""Planning: eligible hosts and their rank, the type of migration, and which moves may start now. Pure."""
