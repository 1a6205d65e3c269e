-- What the sweeper does, and `recover`.

-- tidied(settle) -> 1 if the job's objects are tidy for good; 0 if they are to be looked at once more after so long
function commands.tidied(settle)
  local moment = now()
  if get('rough') == '1' then
    redis.call('HDEL', job, 'rough')
    redis.call('ZADD', p .. 'tidy', 'XX', stamp(moment + tonumber(settle)), id)
    return 0
  end
  -- Each worker that lets go of the job tidies it too, before the time for the last look has come.
  if tonumber(redis.call('ZSCORE', p .. 'tidy', id) or 0) > moment then return 0 end
  redis.call('ZREM', p .. 'tidy', id)
  return 1
end

-- swept() -> nothing: a job that is over has no objects any more
function commands.swept()
  redis.call('ZREM', p .. 'stored', id)
  redis.call('ZREM', p .. 'tidy', id)
end

-- sunk() -> nothing: a removed job has no objects any more
function commands.sunk()
  redis.call('ZREM', p .. 'gone', id)
end

-- rebuild(created, priority, stages, state, started, ended, result, seconds, manifest, ending, model, …)
-- -> 1 if the record of a job that is over was made anew, 0 if it is there
function commands.rebuild(created, priority, stages, state, started, ended, result, seconds, text, text_of_end, ...)
  if redis.call('EXISTS', job) == 1 then return 0 end
  set('state', state, 'version', 1, 'created', created, 'priority', priority, 'stages', stages, 'ended', ended)
  for name, value in pairs({ started = started, result = result, seconds = seconds }) do
    if value ~= '' then set(name, value) end
  end
  local models = { ... }
  for i = 1, #models, 2 do set(models[i] .. '_model', models[i + 1]) end
  redis.call('SET', manifest, text)
  if text_of_end ~= '' then redis.call('SET', ending, text_of_end) end
  for _, index in ipairs({ 'jobs', 'jobs:' .. state }) do redis.call('ZADD', p .. index, created, id) end
  for _, index in ipairs({ 'stored', 'ended' }) do redis.call('ZADD', p .. index, ended, id) end
  return 1
end
