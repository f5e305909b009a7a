"""What the operator tells Prometheus about itself."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

PASSES = Counter("vmferry_passes_total", "Looks at an object, by how they ended", ["kind", "result"])
PASS_SECONDS = Histogram("vmferry_pass_seconds", "How long one look took", ["kind"])
ACTIONS = Counter("vmferry_actions_total", "Requests to the cloud that change something", ["action", "outcome"])
WRITES = Counter("vmferry_status_writes_total", "Status writes", ["kind"])
QUEUE_LENGTH = Gauge("vmferry_queue_length", "Objects that wait for a worker")
VIEW_AGE = Gauge("vmferry_cloud_view_age_seconds", "Age of the oldest part of the view of the cloud; -1: never read")
OBJECTS = Gauge("vmferry_objects", "Objects known")
LEADER = Gauge("vmferry_leader", "1 while this operator leads")
TERMS = Counter("vmferry_leader_transitions_total", "How often this operator has begun to lead")
STOPPED = Gauge("vmferry_stopped", "1 while new moves are stopped everywhere or in some zone")
