-- Health of a VMMigration. Its conditions are those of kstatus: Reconciling and Stalled are there only while they hold.
--
--   the operator has not reconciled it yet  observedGeneration is another one     Progressing
--   Pending, Queued, Migrating, Verifying   Reconciling                           Progressing
--   paused, or stopped by the kill switch   Reconciling, reason Paused, Stopped   Suspended
--   Blocked, Failed, Cancelled              Stalled                               Degraded
--   Succeeded, preflight passed             Ready                                 Healthy
local health = {status = "Progressing", message = "the operator has not reconciled it yet"}
local status = obj.status
if status == nil or status.conditions == nil or status.observedGeneration ~= obj.metadata.generation then
  return health
end
local held = {Paused = true, Stopped = true}
for _, condition in ipairs(status.conditions) do
  if condition.type == "Ready" then
    health.message = condition.message
    if condition.status == "True" then
      health.status = "Healthy"
    elseif held[condition.reason] then
      health.status = "Suspended"
    end
  elseif condition.type == "Stalled" and condition.status == "True" then
    return {status = "Degraded", message = condition.message}
  end
end
return health
