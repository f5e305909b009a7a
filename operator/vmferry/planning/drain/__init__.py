"""The drain plan: which server of a host goes where, and in which order; `plan` puts the parts together."""
