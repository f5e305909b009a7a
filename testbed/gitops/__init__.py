"""What Argo CD, Flux and kstatus make of an object, by their own engines."""
