"""The health of an object according to the engines of Argo CD, Flux and kstatus."""
