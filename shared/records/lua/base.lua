-- What all commands share. Every change of a job is one command a call, each atomic: the state that it leaves is
-- checked here. The files of this folder make one script: base, deliveries, callers, workers, repairs, retention,
-- batches, run.
--
-- Keys (p is the prefix, id the job); times are seconds by Redis's own clock:
--   p job:{id}           HASH    state, version, owner, name, created, started, ended, priority, stages, deadline,
--                                pieces, reach, window, seconds           the plan, known once the job is split
--                                restore_next, vocode_next                first piece that was not handed out
--                                restore_done, vocode_done                pieces that are finished
--                                front                                    restored pieces without a gap, from 0
--                                event                                    id of its latest entry in p events, without a -0
--                                restore_model, vocode_model              who did it: numbers of labels
--                                split, result                            the attempt that won
--                                rough                                    a worker may still write: tidy twice
--                                batch                                    "id item", of a job that belongs to one
--                                hook, told                               its own webhook; when progress was last told
--                                Of one that is over, only what is still told.
--   p job:{id}:doc       STRING  what was asked, and when the job is over its output or error: shared/records/packing
--   Gone when the job is over:
--   p job:{id}:won       HASH    piece -> the attempt whose bytes count; plan: what the split found out;
--                                spent:split, spent:stage:model -> seconds of workers, for the receipt;
--                                waiting:piece -> pieces that go on when it has been made again; lost:piece -> how
--                                often its work was lost
--   p job:{id}:tries     HASH    piece -> number of the latest claim, the fence; owner:piece -> who holds its lease;
--                                running:piece -> the claim that works at it; failed:piece -> attempts used up, and
--                                cause:piece -> by what; troubles:piece -> times it was put off, and
--                                absences:piece -> times for what others owe; gone with the piece
--   p job:{id}:out       HASH    piece that was handed out and is not done -> where it is: leased, later, or the lane
--                                of the queue where its message waits
--   p leases             ZSET    "id piece" by the time until which its lease holds
--   p later              ZSET    "id piece" by the time at which it is sent again
--   p sent:$lane         ZSET    "id piece" by the number of its message in this lane
--   p seq, p seen        HASH    lane -> number of the last message sent; of the youngest that a worker took
--   p name:$name         STRING  id of the job that was made once under a name
--   p jobs:$owner:$state ZSET    ids by time of creation
--   p queued, p open:$priority   ZSET  ids by time of creation: that wait, that are not over
--   p open:$priority:$state      ZSET  the latter by state
--   p deadlines          ZSET    id of a job that is not over, by its deadline
--   p tidy               ZSET    id of a job whose objects are to be tidied, by when
--   p stored, p ended    ZSET    id of a job that is over by when it ended: with objects; without
--   p gone               ZSET    id of a removed job by when, until its objects are seen to be gone too
--   p events             STREAM  id, status, version: each change of a state
--   p labels             HASH    label of a model -> its number, and n:number -> label
--   p stats              HASH    counters: created, ended:$state, restored_ms (of recordings); of pieces: claimed,
--                                completed, resent, expired, troubles; calls:$state, of deliveries that are over; and
--                                owed, how many are pending
--   p delivery:$id       HASH    what is owed to a receiver: owner, subject (a job or batch), target (`hook`, or an
--                                endpoint), type, sequence, status, url (of a hook), extra, receiver, at; and how it
--                                went: state (pending, delivered, failed, dropped), attempts, claims, next, ended, log
--   p deliveries:$subject ZSET   ids of its deliveries by when they are forgotten; +inf of those that are pending
--   p calls              ZSET    receiver (host:port) by the time of its next attempt
--   p calls:$receiver    ZSET    ids of deliveries by the time of the next attempt, or until when one is claimed
--   p endpoints:$owner   HASH    endpoint -> revision, receiver and types
--   p endpoints          STRING  there once the endpoints were read from storage
--   p told:$subject:$target STRING  delivery of the last progress
--   p pulse, p amnesty   STRING  last time at which a worker reached Redis; until when no lease is taken for expired
--
-- A piece is `split`, `stitch`, `restore:$i` or `vocode:$i`; a lane is `$priority:$kind`, or that and `:again`.
-- What a command hands out is a message, "id piece lane number", which the caller must send. If it does not, the
-- reconciler will: the piece lies in p sent:$lane, and younger messages overtake it or its queue stands empty.
local p, command = ARGV[1], ARGV[2]
local id, job, doc, won, tries, out

local function enter(name)
  id = name
  job = p .. 'job:{' .. id .. '}'
  doc, won, tries, out = job .. ':doc', job .. ':won', job .. ':tries', job .. ':out'
end

local MOST_EVENTS = 100000
local MOVES = {
  queued = { processing = true, canceled = true, failed = true, expired = true },
  processing = { succeeded = true, failed = true, canceling = true, canceled = true, expired = true },
  canceling = { canceled = true },
}
local OVER = { succeeded = true, failed = true, canceled = true, expired = true }

local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1e6
end

local function stamp(time) return string.format('%.6f', time) end
local function get(field) return redis.call('HGET', job, field) end
local function number(field) return tonumber(get(field) or 0) end
local function set(...) redis.call('HSET', job, ...) end
local function drop(...) redis.call('HDEL', job, ...) end
local function index_of(state) return p .. 'jobs:' .. get('owner') .. ':' .. state end
local function open_index(state) return p .. 'open:' .. get('priority') .. ':' .. state end
local function count(what, by) redis.call('HINCRBY', p .. 'stats', what, by or 1) end

local function list(text)
  local words = {}
  for word in string.gmatch(text or '', '%S+') do words[#words + 1] = word end
  return words
end

local function has(words, word)
  for _, one in ipairs(words) do if one == word then return true end end
  return false
end

-- Where a piece is while it is handed out and not done.

local function shelf(where)
  if where == 'leased' then return p .. 'leases' end
  return p .. (where == 'later' and 'later' or 'sent:' .. where)
end

local function leave(piece)
  local where = redis.call('HGET', out, piece)
  if not where then return end
  redis.call('ZREM', shelf(where), id .. ' ' .. piece)
  redis.call('HDEL', out, piece)
end

local function place(piece, where, score)
  leave(piece)
  redis.call('HSET', out, piece, where)
  redis.call('ZADD', shelf(where), score, id .. ' ' .. piece)
end

local messages = {}

local function send(piece, again)
  local lane = get('priority') .. ':' .. string.match(piece, '^%a+') .. (again and ':again' or '')
  local position = redis.call('HINCRBY', p .. 'seq', lane, 1)
  place(piece, lane, position)
  messages[#messages + 1] = id .. ' ' .. piece .. ' ' .. lane .. ' ' .. position
end

local function forget_tries(piece)
  redis.call('HDEL', tries, piece, 'owner:' .. piece, 'running:' .. piece, 'failed:' .. piece, 'cause:' .. piece,
    'troubles:' .. piece, 'absences:' .. piece)
end

-- The state machine.

local owe, owe_state, owe_progress  -- deliveries.lua

local function event(state)
  local at = redis.call('XADD', p .. 'events', 'MAXLEN', '~', MOST_EVENTS, '*', 'id', id, 'status', state, 'version',
    get('version'))
  set('event', (string.gsub(at, '-0$', '')))  -- a number takes half the room of a text
  owe_state(state)
end

-- A job of a batch is counted there, once that has counted it in; what else there is of batches: batches.lua.

local function batch_key(name) return p .. 'batch:{' .. name .. '}' end
local COUNTED = { processing = 'processing', canceling = 'processing', succeeded = 'succeeded', failed = 'failed',
  expired = 'failed', canceled = 'canceled' }

local function joined() return string.match(get('batch') or '', '^(%S+) (%d+)$') end

local function tally(batch, item, from, to)
  local key = batch_key(batch)
  if redis.call('GETBIT', key .. ':made', item) == 0 or redis.call('SREM', key .. ':jobs', item) == 0 then return end
  local before, after = COUNTED[from], COUNTED[to]
  if before then redis.call('HINCRBY', key, before, -1) end
  if after then redis.call('HINCRBY', key, after, 1) end
  redis.call('HINCRBY', key, 'version', 1)
  if OVER[to] then redis.call('SADD', key .. ':ended', item .. ' ' .. to)
  else redis.call('SADD', key .. ':jobs', item) end
end

-- Count a job in; true if its batch had not.
local function count_in(batch, item, state)
  local key = batch_key(batch)
  if redis.call('HEXISTS', key, 'ended') == 1 or redis.call('EXISTS', key) == 0 then return false end
  if redis.call('SETBIT', key .. ':made', item, 1) == 1 then return false end
  redis.call('SADD', key .. ':jobs', item)
  tally(batch, item, 'queued', state)
  return true
end

-- Each record that is over costs memory for weeks: it keeps what is still told of it.
local function forget_plan(state)
  drop('created', 'priority', 'stages', 'deadline', 'reach', 'window', 'restore_next', 'vocode_next', 'front', 'split')
  drop('batch')
  if state == 'succeeded' then drop('pieces', 'restore_done', 'vocode_done') end
end

local function end_job(state, moment)
  set('ended', stamp(moment))
  count('ended:' .. state)
  if state == 'succeeded' then count('restored_ms', string.format('%.0f', number('seconds') * 1000)) end
  -- A worker may be at one of its pieces still, and write.
  if state ~= 'succeeded' then set('rough', 1) end
  local pieces = redis.call('HGETALL', out)
  for i = 1, #pieces, 2 do redis.call('ZREM', shelf(pieces[i + 1]), id .. ' ' .. pieces[i]) end
  redis.call('DEL', won, tries, out)
  redis.call('ZREM', p .. 'open:' .. get('priority'), id)
  redis.call('ZREM', p .. 'deadlines', id)
  for _, index in ipairs({ 'tidy', 'stored' }) do redis.call('ZADD', p .. index, stamp(moment), id) end
  forget_plan(state)
end

local function move(to)
  local from = get('state')
  if not from or not (MOVES[from] or {})[to] then return false end
  set('state', to)
  redis.call('HINCRBY', job, 'version', 1)
  redis.call('ZREM', index_of(from), id)
  redis.call('ZADD', index_of(to), get('created'), id)
  redis.call('ZREM', p .. 'queued', id)
  redis.call('ZREM', open_index(from), id)
  if not OVER[to] then redis.call('ZADD', open_index(to), get('created'), id) end
  if to == 'processing' then set('started', stamp(now())) end
  local batch, item = joined()
  if batch then tally(batch, item, from, to) end
  if OVER[to] then end_job(to, now()) end
  event(to)
  return true
end

-- End a job that is to stop once no worker holds a piece of it.
local function settle()
  if get('state') ~= 'canceling' then return end
  for _, where in ipairs(redis.call('HVALS', out)) do
    if where == 'leased' then return end
  end
  move('canceled')
end

-- Count an attempt that came to nothing; true if it was the last, with which the job has failed.
local function used_up(piece, cause, most)
  local attempts = redis.call('HINCRBY', tries, 'failed:' .. piece, 1)
  redis.call('HSET', tries, 'cause:' .. piece, cause)
  if attempts < tonumber(most) or not move('failed') then return false end
  local kind, index = string.match(piece, '^(%a+):?(%d*)$')
  redis.call('APPEND', doc, cjson.encode({
    error = {
      code = 'chunk_failed',
      message = kind .. (index ~= '' and ' of window ' .. index or '') .. ' came to nothing in ' .. attempts
        .. (attempts == 1 and ' attempt: ' or ' attempts; the last one: ') .. cause
        .. '. If it is this recording alone, convert it with another program and send it again',
      stage = kind,
      attempts = attempts,
      cause = cause,
    },
  }))
  return true
end

local commands = {}
