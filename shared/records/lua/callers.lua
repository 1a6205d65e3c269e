-- What callers do.

local function open_jobs(owner)
  local jobs = 0
  for _, state in ipairs({ 'queued', 'processing', 'canceling' }) do
    jobs = jobs + redis.call('ZCARD', p .. 'jobs:' .. owner .. ':' .. state)
  end
  return jobs
end

-- take_name(name) -> the id of the job that has the name, if there is one; otherwise this job has it now
local function take_name(name)
  if name == '' then return nil end
  local other = redis.call('GET', p .. 'name:' .. name)
  if other and other ~= id and redis.call('EXISTS', p .. 'job:{' .. other .. '}') == 1 then return other end
  redis.call('SET', p .. 'name:' .. name, id)
  set('name', name)
end

-- create(owner, name, created, priority, stages, deadline, most, most_own, document, hook, batch)
-- -> {'created', message}, {'known', id} if the job is there, or one of this name, {'full'} if as many jobs of its
-- priority are not over yet, {'own_full'} if as many of its owner are not, or {'over'} if its batch wants no more jobs.
-- A deadline of 0: none; most of 0: however many; a name or hook of '': none. Of a batch: its id and the item's number;
-- else empty.
function commands.create(owner, name, created, priority, stages, deadline, most, most_own, text, hook, batch)
  if redis.call('EXISTS', job) == 1 then return { 'known', id } end
  local within, item = string.match(batch, '^(%S+) (%d+)$')
  if within then
    local state = redis.call('HGET', batch_key(within), 'state')
    if state == 'canceling' or state == 'canceled' or redis.call('GETBIT', batch_key(within) .. ':made', item) == 1 then
      return { 'over' }
    end
  end
  local open = p .. 'open:' .. priority
  if tonumber(most) > 0 and redis.call('ZCARD', open) >= tonumber(most) then return { 'full' } end
  if tonumber(most_own) > 0 and open_jobs(owner) >= tonumber(most_own) then return { 'own_full' } end
  local other = take_name(name)
  if other then return { 'known', other } end
  set('state', 'queued', 'version', 1, 'owner', owner, 'created', created, 'priority', priority, 'stages', stages)
  if hook ~= '' then set('hook', hook) end
  redis.call('SET', doc, text)
  local indices = { index_of('queued'), p .. 'queued', open, open_index('queued') }
  for _, index in ipairs(indices) do redis.call('ZADD', index, created, id) end
  if tonumber(deadline) > 0 then
    set('deadline', deadline)
    redis.call('ZADD', p .. 'deadlines', deadline, id)
  end
  redis.call('ZREM', p .. 'gone', id)
  if within then
    set('batch', batch)
    count_in(within, item, 'queued')
  end
  count('created')
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
  redis.call('ZREM', index_of(state), id)
  local name = get('name')
  if name and redis.call('GET', p .. 'name:' .. name) == id then redis.call('DEL', p .. 'name:' .. name) end
  for _, index in ipairs({ 'tidy', 'stored', 'ended' }) do redis.call('ZREM', p .. index, id) end
  redis.call('DEL', job, doc, won, tries, out)
  redis.call('ZADD', p .. 'gone', stamp(now()), id)
  return 1
end

-- disown() -> nothing: what storage holds of this job, which was not accepted, is to go and never to become a job
function commands.disown()
  if redis.call('EXISTS', job) == 0 then redis.call('ZADD', p .. 'gone', stamp(now()), id) end
end

-- withdraw() -> removes a job that no worker has seen; 1 if it did
function commands.withdraw()
  if get('state') ~= 'queued' then return 0 end
  owe_state = function() end  -- its caller was told that there is no such job
  return move('canceled') and commands.remove() or 0
end
