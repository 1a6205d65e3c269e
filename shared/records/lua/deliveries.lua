-- Webhooks: what is owed to whom, written in the step that ends a job, and its attempts.
--
-- A delivery has a receiver, "host:port": each has a queue of its own, so that one that is slow holds up nobody else.
-- Its id is made of what it tells and to whom, so nothing is owed twice, and the receiver knows a second attempt.
-- A hook is "receiver types url"; types are names with commas between them.

local DROPPED = 'dropped'
local MOST_LINES = 20
local PROGRESS_SECONDS, PROGRESS_KEEP = 0.5, 600

local function delivery_key(name) return p .. 'delivery:' .. name end

local function includes(types, kind) return string.find(',' .. types .. ',', ',' .. kind .. ',', 1, true) ~= nil end

-- The receiver's place among all is the time of its first delivery.
local function call_at(receiver, name, moment)
  local calls = p .. 'calls:' .. receiver
  local change = moment and redis.call('ZADD', calls, stamp(moment), name) or -redis.call('ZREM', calls, name)
  if change ~= 0 then count('owed', change) end
  local first = redis.call('ZRANGE', calls, 0, 0, 'WITHSCORES')
  if first[1] then
    redis.call('ZADD', p .. 'calls', first[2], receiver)
  else
    redis.call('ZREM', p .. 'calls', receiver)
  end
end

local function close(name, state, keep)
  local delivery, moment = delivery_key(name), now()
  local kind, receiver, subject = unpack(redis.call('HMGET', delivery, 'type', 'receiver', 'subject'))
  if kind == 'job.progress' then keep = math.min(keep, PROGRESS_KEEP) end
  redis.call('HSET', delivery, 'state', state, 'ended', stamp(moment))
  redis.call('HDEL', delivery, 'next')
  redis.call('EXPIRE', delivery, math.ceil(keep))
  call_at(receiver, name, nil)
  count('calls:' .. state)
  local index = p .. 'deliveries:' .. subject
  redis.call('ZADD', index, stamp(moment + keep), name)
  redis.call('ZREMRANGEBYSCORE', index, '-inf', stamp(moment))
  local last = tonumber(redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')[2])
  if last < math.huge then redis.call('EXPIRE', index, math.ceil(last - moment)) end
end

local function open(name, receiver, subject, moment)
  redis.call('HSET', delivery_key(name), 'state', 'pending', 'next', stamp(moment))
  redis.call('PERSIST', delivery_key(name))
  local index = p .. 'deliveries:' .. subject
  redis.call('ZADD', index, '+inf', name)
  redis.call('PERSIST', index)
  call_at(receiver, name, moment)
end

-- Of progress only the last matters: one that was not sent yet gives way.
local function forget_older(subject, kind, target)
  if not string.find(kind, '^job%.') then return end
  local last = p .. 'told:' .. subject .. ':' .. target
  local older = redis.call('GET', last)
  if not older then return end
  local state, claims = unpack(redis.call('HMGET', delivery_key(older), 'state', 'claims'))
  if state == 'pending' and not claims then
    local receiver = redis.call('HGET', delivery_key(older), 'receiver')
    call_at(receiver, older, nil)
    redis.call('ZREM', p .. 'deliveries:' .. subject, older)
    redis.call('DEL', delivery_key(older))
  end
  redis.call('DEL', last)
end

-- Owe what happened to everyone who wants to know: the subject's own hook, if it has one, and its owner's endpoints.
-- A subject is a job or a batch; `sequence` grows with each of its events; `extra` is JSON for the body, or ''.
owe = function(owner, subject, kind, sequence, status, hook, extra)
  local moment = now()
  local function to(target, receiver, types, url)
    if not includes(types, kind) then return end
    local name = 'msg_' .. subject .. '_' .. sequence .. '_' .. target
    if redis.call('EXISTS', delivery_key(name)) == 1 then return end
    forget_older(subject, kind, target)
    redis.call('HSET', delivery_key(name), 'owner', owner, 'subject', subject, 'target', target, 'type', kind,
      'sequence', sequence, 'status', status, 'receiver', receiver, 'at', stamp(moment))
    if url then redis.call('HSET', delivery_key(name), 'url', url) end
    if extra ~= '' then redis.call('HSET', delivery_key(name), 'extra', extra) end
    open(name, receiver, subject, moment)
    if kind == 'job.progress' then
      redis.call('SET', p .. 'told:' .. subject .. ':' .. target, name, 'EX', PROGRESS_KEEP)
    end
  end
  if hook then
    local receiver, types, url = string.match(hook, '^(%S+) (%S+) (%S+)$')
    if url then to('hook', receiver, types, url) end
  end
  local endpoints = redis.call('HGETALL', p .. 'endpoints:' .. owner)
  for i = 1, #endpoints, 2 do
    local receiver, types = string.match(endpoints[i + 1], '^%d+ (%S+) (%S+)$')
    if types then to(endpoints[i], receiver, types) end
  end
end

local EVENTS = { processing = 'job.started', succeeded = 'job.succeeded', failed = 'job.failed',
  canceled = 'job.canceled', expired = 'job.expired' }

owe_state = function(state)
  local kind = EVENTS[state]
  if kind then owe(get('owner'), id, kind, get('version'), state, get('hook'), '') end
  if OVER[state] then drop('hook', 'told') end
end

owe_progress = function()
  local owner, hook, moment = get('owner'), get('hook'), now()
  local wanted = hook and includes(string.match(hook, ' (%S+) ') or '', 'job.progress')
  for _, value in ipairs(redis.call('HVALS', p .. 'endpoints:' .. owner)) do
    wanted = wanted or includes(string.match(value, ' (%S+)$') or '', 'job.progress')
  end
  if not wanted or moment - number('told') < PROGRESS_SECONDS then return end
  set('told', stamp(moment))
  local steps = number('pieces') * #list(string.gsub(get('stages'), ',', ' '))
  local extra = cjson.encode({ done_steps = number('restore_done') + number('vocode_done'), total_steps = steps })
  owe(owner, id, 'job.progress', get('version'), get('state'), hook, '{"progress":' .. extra .. '}')
end

-- The registered endpoints, as far as this script must know them; storage has all of them, and is the truth.

-- enlist(owner, endpoint, revision, receiver, types) -> 1, or 0 if a younger revision is there
function commands.enlist(owner, endpoint, revision, receiver, types)
  local known = redis.call('HGET', p .. 'endpoints:' .. owner, endpoint)
  if known and tonumber(string.match(known, '^%d+')) > tonumber(revision) then return 0 end
  redis.call('HSET', p .. 'endpoints:' .. owner, endpoint, revision .. ' ' .. receiver .. ' ' .. types)
  return 1
end

-- delist(owner, endpoint) -> nothing: it is owed no more
function commands.delist(owner, endpoint)
  redis.call('HDEL', p .. 'endpoints:' .. owner, endpoint)
end

-- claim_calls(limit, room, lease, receiver, its room, …) -> the time, id, claim, fields, …
-- Gives what is due, at most `room` of a receiver unless told otherwise; who is not heard of for `lease` seconds loses
-- it.
function commands.claim_calls(limit, room, lease, ...)
  local asked, rooms, found, moment = { ... }, {}, {}, now()
  found[1] = stamp(moment)
  for i = 1, #asked, 2 do rooms[asked[i]] = tonumber(asked[i + 1]) end
  limit = tonumber(limit)
  for _, receiver in ipairs(redis.call('ZRANGEBYSCORE', p .. 'calls', '-inf', stamp(moment), 'LIMIT', 0, 1000)) do
    local most = math.min(rooms[receiver] or tonumber(room), limit - (#found - 1) / 3)
    if most > 0 then
      local due = redis.call('ZRANGEBYSCORE', p .. 'calls:' .. receiver, '-inf', stamp(moment), 'LIMIT', 0, most)
      for _, name in ipairs(due) do
        local fields = redis.call('HGETALL', delivery_key(name))
        if #fields == 0 then
          call_at(receiver, name, nil)
        else
          found[#found + 1] = name
          found[#found + 1] = redis.call('HINCRBY', delivery_key(name), 'claims', 1)
          found[#found + 1] = fields
          call_at(receiver, name, moment + tonumber(lease))
        end
      end
    end
  end
  return found
end

-- drop_call(delivery, keep) -> nothing: nobody is there for it any more
function commands.drop_call(name, keep)
  if redis.call('HGET', delivery_key(name), 'state') == 'pending' then close(name, DROPPED, tonumber(keep)) end
end

-- The receiver of a job's own hook wants no more of it.
local function end_hook(subject, keep)
  enter(subject)
  drop('hook')
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', p .. 'deliveries:' .. subject, '+inf', '+inf')) do
    if redis.call('HGET', delivery_key(name), 'target') == 'hook' then commands.drop_call(name, keep) end
  end
end

-- report_call(delivery, claim, line, state, delay, keep) -> 1, or 0 if the claim does not count any more.
-- An attempt was made. State `pending`: the next one in `delay` seconds; another: it is over, and kept so long.
-- `gone`: it has failed, and if it was for a job's own hook, nothing more is owed to that.
function commands.report_call(name, claim, line, state, delay, keep)
  local delivery = delivery_key(name)
  local mine, was, receiver, subject, log = unpack(
    redis.call('HMGET', delivery, 'claims', 'state', 'receiver', 'subject', 'log'))
  if mine ~= claim or was ~= 'pending' then return 0 end
  local lines = {}
  for one in string.gmatch(log or '', '[^\n]+') do lines[#lines + 1] = one end
  lines[#lines + 1] = line
  while #lines > MOST_LINES do table.remove(lines, 1) end
  redis.call('HSET', delivery, 'log', table.concat(lines, '\n'))
  redis.call('HINCRBY', delivery, 'attempts', 1)
  if state == 'pending' then
    open(name, receiver, subject, now() + tonumber(delay))
  else
    close(name, state == 'gone' and 'failed' or state, tonumber(keep))
    if state == 'gone' and redis.call('HGET', delivery, 'target') == 'hook' then end_hook(subject, keep) end
  end
  return 1
end

-- release_call(delivery, claim, delay) -> nothing: no attempt was made, for something of ours is away
function commands.release_call(name, claim, delay)
  local mine, was, receiver, subject = unpack(
    redis.call('HMGET', delivery_key(name), 'claims', 'state', 'receiver', 'subject'))
  if mine == claim and was == 'pending' then open(name, receiver, subject, now() + tonumber(delay)) end
end

-- redeliver(delivery) -> 1 if it is to be sent now, from the first attempt on; 0 if there is none
function commands.redeliver(name)
  local receiver, subject, state, claims = unpack(
    redis.call('HMGET', delivery_key(name), 'receiver', 'subject', 'state', 'claims'))
  if not receiver then return 0 end
  redis.call('HSET', delivery_key(name), 'attempts', 0)
  redis.call('HDEL', delivery_key(name), 'ended')
  if claims then redis.call('HINCRBY', delivery_key(name), 'claims', 1) end  -- an attempt under way counts no more
  open(name, receiver, subject, now())
  return 1
end
