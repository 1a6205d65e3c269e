-- Every change of a job, one command a call, each atomic: the state that it leaves is checked here.
--
-- Keys ($p is the prefix, $id the job):
--   $p:job:{$id}        HASH    state, version, created, started, ended, priority, stages,
--                               pieces, reach, window, seconds           the plan, known once the job is split
--                               restore_next, vocode_next                first piece that was not handed out
--                               restore_done, vocode_done                pieces that are finished
--                               front                                    restored pieces without a gap, from 0
--                               restore_model, vocode_model              who did it
--                               split, result                            the attempt that won
--   $p:job:{$id}:manifest  STRING  what was asked, as JSON
--   $p:job:{$id}:end       STRING  output or error, as JSON
--   $p:job:{$id}:won       HASH    piece -> the attempt whose bytes count; unsent:piece -> the pieces that it made
--                               ready, until they are known to be sent; plan: what the split found out;
--                               waiting:piece -> pieces that go on when it has been made again; lost:piece -> how
--                               often its work was lost; gone when the job is over
--   $p:job:{$id}:tries     HASH    piece -> attempts so far; gone when the piece is done
--   $p:jobs                ZSET    id by time of creation
--   $p:jobs:$state         ZSET    the same, of one state
--
-- A piece is `split`, `stitch`, `restore:$i` or `vocode:$i`. What a command hands out, the caller must send.
-- A caller that did not get its answer, because the connection broke, asks again: it is answered as the first time.
local job, manifest, ending, won, tries, index = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local command, id = ARGV[1], ARGV[2]

local MOVES = {
  queued = { processing = true, canceled = true, failed = true, expired = true },
  processing = { succeeded = true, failed = true, canceling = true, expired = true },
  canceling = { canceled = true },
}
local OVER = { succeeded = true, failed = true, canceled = true, expired = true }

local function now()
  local time = redis.call('TIME')
  return string.format('%d.%06d', time[1], time[2])
end

local function get(field) return redis.call('HGET', job, field) end
local function number(field) return tonumber(get(field) or 0) end
local function set(...) redis.call('HSET', job, ...) end

local function move(to)
  local from = get('state')
  if not from or not (MOVES[from] or {})[to] then return false end
  set('state', to)
  redis.call('HINCRBY', job, 'version', 1)
  redis.call('ZREM', index .. ':' .. from, id)
  redis.call('ZADD', index .. ':' .. to, get('created'), id)
  if to == 'processing' then set('started', now()) end
  if OVER[to] then
    set('ended', now())
    redis.call('DEL', won, tries)
  end
  return true
end

local function list(text)
  local words = {}
  for word in string.gmatch(text or '', '%S+') do words[#words + 1] = word end
  return words
end

local function has(words, word)
  for _, one in ipairs(words) do if one == word then return true end end
  return false
end

-- What a piece made ready, for an attempt that asks again; false if another attempt's work counts.
local function handed_before(piece, attempt)
  if redis.call('HGET', won, piece) ~= attempt then return false end
  return list(redis.call('HGET', won, 'unsent:' .. piece))
end

-- Ready vocodes before new restores, each in order, at most `window` under way.
local function hand_out(piece)
  local pieces, reach, window = number('pieces'), number('reach'), number('window')
  local stages = get('stages')
  local restore_next, vocode_next = number('restore_next'), number('vocode_next')
  local restore_done, vocode_done = number('restore_done'), number('vocode_done')
  local front = number('front')
  while front < pieces and redis.call('HEXISTS', won, 'restore:' .. front) == 1 do front = front + 1 end

  local handed = {}
  local under_way = restore_next - restore_done + vocode_next - vocode_done
  while under_way < window do
    if stages ~= 'restore' and vocode_next < pieces and front >= math.min(vocode_next + reach + 1, pieces) then
      handed[#handed + 1] = 'vocode:' .. vocode_next
      vocode_next = vocode_next + 1
    elseif restore_next < pieces then
      handed[#handed + 1] = 'restore:' .. restore_next
      restore_next = restore_next + 1
    else
      break
    end
    under_way = under_way + 1
  end
  set('restore_next', restore_next, 'vocode_next', vocode_next, 'front', front)

  local done = stages == 'restore' and restore_done or vocode_done
  if done == pieces then handed[#handed + 1] = 'stitch' end
  -- Besides: what waited for this piece, and what it did not get sent before it had to be made again.
  for _, field in ipairs({ 'waiting:', 'unsent:' }) do
    for _, name in ipairs(list(redis.call('HGET', won, field .. piece))) do
      if not has(handed, name) then handed[#handed + 1] = name end
    end
  end
  redis.call('HDEL', won, 'waiting:' .. piece)
  if #handed > 0 then redis.call('HSET', won, 'unsent:' .. piece, table.concat(handed, ' ')) end
  return handed
end

-- Forget that a piece is done; a later attempt's number is higher than those so far.
local function undo(piece, attempt)
  redis.call('HDEL', won, piece)
  redis.call('HSET', tries, piece, attempt)
  local stage, i = string.match(piece, '^(%a+):(%d+)$')
  if not stage then return end
  redis.call('HINCRBY', job, stage .. '_done', -1)
  redis.call('HINCRBY', job, 'version', 1)
  if stage == 'restore' and tonumber(i) < number('front') then set('front', i) end
end

local commands = {}

-- create(created, priority, stages, manifest) -> 1, or 0 if the job is there
function commands.create(created, priority, stages, text)
  if redis.call('EXISTS', job) == 1 then return 0 end
  set('state', 'queued', 'version', 1, 'created', created, 'priority', priority, 'stages', stages)
  redis.call('SET', manifest, text)
  redis.call('ZADD', index, created, id)
  redis.call('ZADD', index .. ':queued', created, id)
  return 1
end

-- claim(piece) -> {'attempt', n, priority, plan or '', and for a vocode i, attempt, i, attempt, … of its restores},
--                 {'done'} if it needs no work, {'canceling'}, or {'gone'}
function commands.claim(piece)
  local state = get('state')
  if state == 'canceling' then return { 'canceling' } end
  if state ~= 'queued' and state ~= 'processing' then return { 'gone' } end
  if redis.call('HEXISTS', won, piece) == 1 then return { 'done' } end
  if state == 'queued' then move('processing') end
  local attempt = redis.call('HINCRBY', tries, piece, 1)
  local answer = { 'attempt', attempt, get('priority'), redis.call('HGET', won, 'plan') or '' }
  local index = tonumber(string.match(piece, '^vocode:(%d+)$'))
  if index then
    local reach = number('reach')
    for i = math.max(0, index - reach), math.min(number('pieces') - 1, index + reach) do
      local counts = redis.call('HGET', won, 'restore:' .. i)
      if counts then
        answer[#answer + 1] = tostring(i)
        answer[#answer + 1] = counts
      end
    end
  end
  return answer
end

-- lost(waiter, most, piece, attempt) -> what to send, {'never'} if that happened to the piece more than `most` times,
-- or false if the job needs no more work.
-- What the attempt left cannot be read any more: the piece is to be made again, and the waiter goes on after it.
function commands.lost(waiter, most, piece, attempt)
  if get('state') ~= 'processing' then return false end
  local counts = redis.call('HGET', won, piece)
  if counts and counts ~= attempt then return { waiter } end  -- it has been made again already
  if counts then
    if redis.call('HINCRBY', won, 'lost:' .. piece, 1) > tonumber(most) then return { 'never' } end
    undo(piece, attempt)
  end
  local waiting = {}
  for _, name in ipairs(list(redis.call('HGET', won, 'waiting:' .. piece))) do
    -- One that was done meanwhile, by another attempt, is not there any more to send what it missed.
    if redis.call('HEXISTS', won, name) == 0 then waiting[#waiting + 1] = name end
  end
  -- The first who misses a piece has it made; who asks again may not have been able to send it.
  local handed = (#waiting == 0 or has(waiting, waiter)) and { piece } or {}
  if not has(waiting, waiter) then waiting[#waiting + 1] = waiter end
  redis.call('HSET', won, 'waiting:' .. piece, table.concat(waiting, ' '))
  return handed
end

-- split(attempt, pieces, reach, window, seconds, plan) -> what to send, or false if another attempt won
function commands.split(attempt, pieces, reach, window, seconds, plan)
  if get('state') ~= 'processing' then return false end
  if redis.call('HSETNX', won, 'split', attempt) == 0 then return handed_before('split', attempt) end
  set('split', attempt, 'pieces', pieces, 'reach', reach, 'window', window, 'seconds', seconds)
  redis.call('HSET', won, 'plan', plan)
  if get('stages') == 'vocode' then
    -- The split has cut the sender's mel: nothing is left to restore.
    for i = 0, pieces - 1 do redis.call('HSET', won, 'restore:' .. i, attempt) end
    set('restore_next', pieces, 'restore_done', pieces, 'front', pieces)
  end
  redis.call('HINCRBY', job, 'version', 1)
  return hand_out('split')
end

-- complete(stage, i, attempt, model) -> what to send, or false if it does not count
function commands.complete(stage, i, attempt, model)
  local piece = stage .. ':' .. i
  if get('state') ~= 'processing' then return false end
  if redis.call('HSETNX', won, piece, attempt) == 0 then return handed_before(piece, attempt) end
  redis.call('HDEL', tries, piece)  -- claimed no more: a long recording keeps the counts of what is under way alone
  redis.call('HINCRBY', job, stage .. '_done', 1)
  redis.call('HINCRBY', job, 'version', 1)
  set(stage .. '_model', model)
  return hand_out(piece)
end

-- sent(piece, attempt) -> nothing: what this attempt at a piece handed out was sent; if it counts still.
function commands.sent(piece, attempt)
  if redis.call('HGET', won, piece) == attempt then redis.call('HDEL', won, 'unsent:' .. piece) end
end

-- succeed(attempt, output) -> 1, or 0 if it does not count
function commands.succeed(attempt, output)
  if get('state') == 'succeeded' and get('result') == attempt then return 1 end
  if get('state') ~= 'processing' then return 0 end
  set('result', attempt)
  redis.call('SET', ending, output)
  move('succeeded')
  return 1
end

-- fail(error, piece) -> 1, or 0 if the job was over or is being cancelled, or another attempt has done the piece
function commands.fail(text, piece)
  if redis.call('HEXISTS', won, piece) == 1 or not move('failed') then return 0 end
  redis.call('SET', ending, text)
  return 1
end

-- cancel() -> the state now, or false if there is no such job
function commands.cancel()
  -- A job that its workers are to stop already stays so: they end it.
  move(get('state') == 'queued' and 'canceled' or 'canceling')
  return get('state')
end

-- canceled() -> 1 for the one caller that ended it
function commands.canceled()
  return get('state') == 'canceling' and move('canceled') and 1 or 0
end

-- remove() -> 1 if the record of a job that is over was removed, else 0
function commands.remove()
  local state = get('state')
  if not OVER[state] then return 0 end
  redis.call('DEL', job, manifest, ending, won, tries)
  redis.call('ZREM', index, id)
  redis.call('ZREM', index .. ':' .. state, id)
  return 1
end

-- withdraw() -> removes a job that no worker has seen; 1 if it did
function commands.withdraw()
  return get('state') == 'queued' and move('canceled') and commands.remove() or 0
end

return commands[command](unpack(ARGV, 3))
