-- What callers do.

-- create(created, priority, stages, deadline, most, manifest) -> {'created', message}, {'known'} if the job is there,
-- or {'full'} if as many jobs of its priority are not over yet. A deadline of 0: none; most of 0: however many.
function commands.create(created, priority, stages, deadline, most, text)
  if redis.call('EXISTS', job) == 1 then return { 'known' } end
  local open = p .. 'open:' .. priority
  if tonumber(most) > 0 and redis.call('ZCARD', open) >= tonumber(most) then return { 'full' } end
  set('state', 'queued', 'version', 1, 'created', created, 'priority', priority, 'stages', stages)
  redis.call('SET', manifest, text)
  for _, index in ipairs({ p .. 'jobs', p .. 'jobs:queued', open }) do redis.call('ZADD', index, created, id) end
  if tonumber(deadline) > 0 then
    set('deadline', deadline)
    redis.call('ZADD', p .. 'deadlines', deadline, id)
  end
  redis.call('ZREM', p .. 'gone', id)
  event('queued')
  send('split', false)
  return { 'created', messages[1] }
end

-- cancel() -> the state now, or false if there is no such job
function commands.cancel()
  local state = get('state')
  if state == 'queued' then
    move('canceled')
  elseif state == 'processing' then
    -- What no worker has in hand is called off here and now.
    local pieces = redis.call('HGETALL', out)
    for i = 1, #pieces, 2 do
      if pieces[i + 1] ~= 'leased' then leave(pieces[i]) end
    end
    move('canceling')
    settle()
  end
  return get('state')
end

-- remove() -> 1 if the record of a job that is over was removed, else 0
function commands.remove()
  local state = get('state')
  if not OVER[state] then return 0 end
  redis.call('DEL', job, manifest, ending, won, tries, out)
  for _, index in ipairs({ 'jobs', 'jobs:' .. state, 'tidy', 'stored', 'ended' }) do
    redis.call('ZREM', p .. index, id)
  end
  redis.call('ZADD', p .. 'gone', stamp(now()), id)
  return 1
end

-- withdraw() -> removes a job that no worker has seen; 1 if it did
function commands.withdraw()
  return get('state') == 'queued' and move('canceled') and commands.remove() or 0
end
