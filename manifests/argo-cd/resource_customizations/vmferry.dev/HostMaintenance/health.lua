-- Health of a HostMaintenance. Its conditions are those of kstatus: Reconciling and Stalled are there only while they
-- hold. Ready: in maintenance if it is enabled, in service if it is not.
--
--   the operator has not reconciled it yet    observedGeneration is another one     Progressing
--   Checking, Queued, Draining, Releasing     Reconciling                           Progressing
--   stopped by the kill switch                Reconciling, reason Stopped           Suspended
--   Blocked, Conflict, no such host           Stalled                               Degraded
--   InMaintenance, Released, Checked          Ready                                 Healthy
local health = {status = "Progressing", message = "the operator has not reconciled it yet"}
local status = obj.status
if status == nil or status.conditions == nil or status.observedGeneration ~= obj.metadata.generation then
  return health
end
for _, condition in ipairs(status.conditions) do
  if condition.type == "Ready" then
    health.message = condition.message
    if condition.status == "True" then
      health.status = "Healthy"
    elseif condition.reason == "Stopped" then
      health.status = "Suspended"
    end
  elseif condition.type == "Stalled" and condition.status == "True" then
    return {status = "Degraded", message = condition.message}
  end
end
return health
