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
  local ended = redis.call('ZSCORE', p .. 'stored', id)
  if ended then redis.call('ZADD', p .. 'ended', ended, id) end
  redis.call('ZREM', p .. 'stored', id)
  redis.call('ZREM', p .. 'tidy', id)
end

-- sunk() -> nothing: a removed job has no objects any more
function commands.sunk()
  redis.call('ZREM', p .. 'gone', id)
end

-- rebuild(owner, name, created, state, started, ended, result, seconds, document, stage, label, …)
-- -> 1 if the record of a job that is over was made anew, 0 if it is there
function commands.rebuild(owner, name, created, state, started, ended, result, seconds, text, ...)
  if redis.call('EXISTS', job) == 1 then return 0 end
  take_name(name)
  set('state', state, 'version', 1, 'owner', owner, 'ended', ended)
  for name, value in pairs({ started = started, result = result, seconds = seconds }) do
    if value ~= '' then set(name, value) end
  end
  local models = { ... }
  for i = 1, #models, 2 do set(models[i] .. '_model', number_of(models[i + 1])) end
  redis.call('SET', doc, text)
  redis.call('ZADD', index_of(state), created, id)
  redis.call('ZADD', p .. 'stored', ended, id)
  return 1
end
