"""Planning: which hosts a server may go to and in which order, which type of migration, and who may start now. Pure."""
