-- What the reconciler does.

-- lead(role, token, ttl, quiet, pardon) -> 1 if the token leads in this role now.
-- Where no worker reached Redis for `quiet` seconds, leases lapsed because they could not be renewed: for `pardon`
-- seconds more none is taken for expired, so that who lives can renew.
function commands.lead(role, token, ttl, quiet, pardon)
  local moment = now()
  local pulse = tonumber(redis.call('GET', p .. 'pulse') or 0)
  if moment - pulse > tonumber(quiet) then redis.call('SET', p .. 'amnesty', stamp(moment + tonumber(pardon))) end
  redis.call('SET', p .. 'pulse', stamp(moment))
  local lock = p .. 'lead:' .. role
  if redis.call('GET', lock) ~= token and not redis.call('SET', lock, token, 'NX', 'PX', ttl) then return 0 end
  redis.call('PEXPIRE', lock, ttl)
  return 1
end

-- resign(role, token) -> nothing
function commands.resign(role, token)
  if redis.call('GET', p .. 'lead:' .. role) == token then redis.call('DEL', p .. 'lead:' .. role) end
end

local function overdue(index, limit)
  return redis.call('ZRANGEBYSCORE', p .. index, '-inf', stamp(now()), 'LIMIT', 0, limit)
end

local function split_name(name)
  local job_id, piece = string.match(name, '^(%S+) (%S+)$')
  enter(job_id)
  return piece
end

-- expired(limit, most) -> what to send: pieces whose lease has run out
function commands.expired(limit, most)
  if now() < tonumber(redis.call('GET', p .. 'amnesty') or 0) then return messages end
  for _, name in ipairs(overdue('leases', limit)) do lapse(split_name(name), most) end
  return messages
end

-- due(limit) -> what to send: pieces that were put off until now
function commands.due(limit)
  for _, name in ipairs(overdue('later', limit)) do send(split_name(name), true) end
  return messages
end

-- expire(limit) -> ids of jobs whose deadline has passed, which are over now
function commands.expire(limit)
  local ended = {}
  for _, name in ipairs(overdue('deadlines', limit)) do
    enter(name)
    if move('expired') or move('canceled') then ended[#ended + 1] = name end
    redis.call('ZREM', p .. 'deadlines', name)
  end
  return ended
end

-- suspects(limit, lane, empty, …) -> name, lane, number, … of messages that may be lost: overtaken by younger ones, or
-- all of a lane whose queue is empty
function commands.suspects(limit, ...)
  local asked, found = { ... }, {}
  for i = 1, #asked, 2 do
    local lane = asked[i]
    local most = asked[i + 1] == '1' and '+inf' or '(' .. (redis.call('HGET', p .. 'seen', lane) or 0)
    local rows = redis.call('ZRANGEBYSCORE', p .. 'sent:' .. lane, '-inf', most, 'WITHSCORES', 'LIMIT', 0, limit)
    for j = 1, #rows, 2 do
      for _, one in ipairs({ rows[j], lane, rows[j + 1] }) do found[#found + 1] = one end
    end
  end
  return found
end

-- resend(id, piece, lane, position, …) -> what to send, of pieces whose message is known to be lost
function commands.resend(...)
  local asked = { ... }
  for i = 1, #asked, 4 do
    enter(asked[i])
    local piece, lane, position = asked[i + 1], asked[i + 2], asked[i + 3]
    if tonumber(redis.call('ZSCORE', p .. 'sent:' .. lane, id .. ' ' .. piece) or -1) == tonumber(position) then
      count('resent')
      send(piece, true)
    end
  end
  return messages
end
