-- What workers do. A piece is claimed under a number, its fence: what a claim reports counts only while no later one
-- was given out.

local function own(piece, attempt)
  return get('state') == 'processing' and redis.call('HGET', tries, piece) == attempt
    and redis.call('HEXISTS', out, piece) == 1
end

-- The lease of a piece has run out, or its worker says that it can do no more. Sends it again, unless that was the
-- last of its attempts, or the job is to stop.
local function lapse(piece, most)
  count('expired')
  set('rough', 1)
  if get('state') ~= 'processing' then
    leave(piece)
    settle()
  elseif redis.call('HGET', tries, 'running:' .. piece) ~= redis.call('HGET', tries, piece)
    or not used_up(piece, 'its worker died, or hung, or lost touch with Redis', most) then
    send(piece, true)
  end
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
  for _, name in ipairs(handed) do send(name, false) end

  -- What waited for this piece goes on; the stitch may be among it.
  for _, name in ipairs(list(redis.call('HGET', won, 'waiting:' .. piece))) do
    if redis.call('HEXISTS', won, name) == 0 and redis.call('HEXISTS', out, name) == 0 then send(name, true) end
  end
  redis.call('HDEL', won, 'waiting:' .. piece)
  local done = stages == 'restore' and restore_done or vocode_done
  if done == pieces and redis.call('HEXISTS', out, 'stitch') == 0 then send('stitch', false) end
end

-- A label is long, and of few models: a record has its number.
local function number_of(label)
  local known = redis.call('HGET', p .. 'labels', label)
  if known then return known end
  local given = redis.call('HINCRBY', p .. 'labels', 'count', 1)
  redis.call('HSET', p .. 'labels', label, given, 'n:' .. given, label)
  return given
end

-- Forget that a piece is done. Neither does the attempt that did it count any more, should it report again.
local function undo(piece, attempt)
  redis.call('HDEL', won, piece)
  redis.call('HSET', tries, piece, tonumber(attempt) + 1)
  local stage, i = string.match(piece, '^(%a+):(%d+)$')
  if not stage then return end
  redis.call('HINCRBY', job, stage .. '_done', -1)
  redis.call('HINCRBY', job, 'version', 1)
  if stage == 'restore' and tonumber(i) < number('front') then set('front', i) end
end

local function done(piece, attempt)
  leave(piece)
  forget_tries(piece)  -- a long recording keeps the counts of what is under way alone
  redis.call('HSET', won, piece, attempt)
  redis.call('HINCRBY', job, 'version', 1)
  count('completed')
end

-- claim(piece, owner, ttl, most, lane, position) ->
--   {'attempt', n, priority, alone, plan or '', and for a vocode i, attempt, i, attempt, … of its restores},
--   {'leased'} if another worker is at it, {'done'} if it needs no work, {'canceling'}, or {'gone'}
function commands.claim(piece, owner, ttl, most, lane, position)
  -- A number that was not given out yet is of a time before these records.
  if tonumber(position) > tonumber(redis.call('HGET', p .. 'seen', lane) or 0)
    and tonumber(position) <= tonumber(redis.call('HGET', p .. 'seq', lane) or 0) then
    redis.call('HSET', p .. 'seen', lane, position)
  end
  local state = get('state')
  if state == 'canceling' then return { 'canceling' } end
  if state ~= 'queued' and state ~= 'processing' then return { 'gone' } end
  if redis.call('HEXISTS', won, piece) == 1 then return { 'done' } end
  local where, moment = redis.call('HGET', out, piece), now()
  if not where then return { 'done' } end  -- it waits for another piece that is made again, and comes after it
  if where == 'leased' and redis.call('HGET', tries, 'owner:' .. piece) ~= owner then
    local lapses = tonumber(redis.call('ZSCORE', p .. 'leases', id .. ' ' .. piece))
    if lapses > moment or moment < tonumber(redis.call('GET', p .. 'amnesty') or 0) then return { 'leased' } end
    lapse(piece, most)  -- it was sent again by this, but here we are
    if get('state') ~= 'processing' then return { 'gone' } end
  end
  if state == 'queued' then move('processing') end
  local attempt = redis.call('HINCRBY', tries, piece, 1)
  if attempt > 1 then set('rough', 1) end
  local alone = redis.call('HEXISTS', tries, 'failed:' .. piece)
  redis.call('HSET', tries, 'owner:' .. piece, owner)
  if alone == 0 then redis.call('HSET', tries, 'running:' .. piece, attempt) end
  place(piece, 'leased', stamp(moment + tonumber(ttl)))
  count('claimed')
  local answer = { 'attempt', attempt, get('priority'), alone, redis.call('HGET', won, 'plan') or '' }
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

-- begin(piece, attempt) -> 1 if the work may begin: from now on the death of its worker counts against it. 0 if not.
function commands.begin(piece, attempt)
  if not own(piece, attempt) then return 0 end
  redis.call('HSET', tries, 'running:' .. piece, attempt)
  return 1
end

-- renew(ttl, id, piece, attempt, …) -> for each 1 if its lease holds on, 0 if its work is wanted no more
function commands.renew(ttl, ...)
  local asked, answer, moment = { ... }, {}, now()
  for i = 1, #asked, 3 do
    enter(asked[i])
    local piece, attempt = asked[i + 1], asked[i + 2]
    local mine = own(piece, attempt) and redis.call('HGET', out, piece) == 'leased'
    if mine then redis.call('ZADD', p .. 'leases', 'XX', stamp(moment + tonumber(ttl)), id .. ' ' .. piece) end
    answer[#answer + 1] = mine and 1 or 0
  end
  return answer
end

-- split(attempt, pieces, reach, window, seconds, plan) -> what to send, or false if the attempt does not count
function commands.split(attempt, pieces, reach, window, seconds, plan)
  if redis.call('HGET', won, 'split') == attempt then return {} end  -- asked again: the answer was lost
  if not own('split', attempt) then return false end
  set('split', attempt, 'pieces', pieces, 'reach', reach, 'window', window, 'seconds', seconds)
  redis.call('HSET', won, 'plan', plan)
  if get('stages') == 'vocode' then
    -- The split has cut the sender's mel: nothing is left to restore.
    for i = 0, pieces - 1 do redis.call('HSET', won, 'restore:' .. i, attempt) end
    set('restore_next', pieces, 'restore_done', pieces, 'front', pieces)
  end
  done('split', attempt)
  owe_progress()
  hand_out('split')
  return messages
end

-- complete(stage, i, attempt, model) -> what to send, or false if it does not count
function commands.complete(stage, i, attempt, model)
  local piece = stage .. ':' .. i
  if redis.call('HGET', won, piece) == attempt then return {} end  -- asked again: the answer was lost
  if not own(piece, attempt) then return false end
  redis.call('HINCRBY', job, stage .. '_done', 1)
  set(stage .. '_model', number_of(model))
  done(piece, attempt)
  owe_progress()
  hand_out(piece)
  return messages
end

-- lost(waiter, claimed, most, piece, attempt) -> what to send, {'never'} if that happened to the piece more than
-- `most` times, or false if the waiter's claim does not count.
-- What the attempt left cannot be read any more: the piece is to be made again, and the waiter goes on after it.
function commands.lost(waiter, claimed, most, piece, attempt)
  if not own(waiter, claimed) then return false end
  local counts = redis.call('HGET', won, piece)
  if counts and counts ~= attempt then  -- it has been made again already
    send(waiter, true)
    return messages
  end
  if counts then
    if redis.call('HINCRBY', won, 'lost:' .. piece, 1) > tonumber(most) then return { 'never' } end
    undo(piece, attempt)
    set('rough', 1)
  end
  if redis.call('HEXISTS', out, piece) == 0 then send(piece, true) end
  leave(waiter)
  local waiting = list(redis.call('HGET', won, 'waiting:' .. piece))
  if not has(waiting, waiter) then waiting[#waiting + 1] = waiter end
  redis.call('HSET', won, 'waiting:' .. piece, table.concat(waiting, ' '))
  return messages
end

-- succeed(attempt, output) -> 1, or 0 if it does not count
function commands.succeed(attempt, output)
  if get('state') == 'succeeded' and get('result') == attempt then return 1 end
  if not own('stitch', attempt) then return 0 end
  set('result', attempt)
  redis.call('APPEND', doc, output)
  move('succeeded')
  return 1
end

-- fail(error, piece, attempt) -> 1, or 0 if the attempt does not count
function commands.fail(text, piece, attempt)
  if not own(piece, attempt) or not move('failed') then return 0 end
  redis.call('APPEND', doc, text)
  return 1
end

-- put_off(piece, attempt, least, longest, dice, why, most) -> seconds until it is sent again; false if the claim does
-- not count; 'enough' if that happened `most` times for this reason (0: however many), and then it is not put off.
-- What is away uses no attempt up: `least` seconds at first, twice as long each time, up to `longest`, half by chance.
function commands.put_off(piece, attempt, least, longest, dice, why, most)
  if not own(piece, attempt) then return false end
  local times = tonumber(redis.call('HGET', tries, why .. ':' .. piece) or 0) + 1
  if tonumber(most) > 0 and times > tonumber(most) then return 'enough' end
  redis.call('HSET', tries, why .. ':' .. piece, times)
  local seconds = math.min(tonumber(longest), tonumber(least) * 2 ^ math.min(times - 1, 30))
  seconds = seconds * (0.5 + tonumber(dice) / 2)
  place(piece, 'later', stamp(now() + seconds))
  count('troubles')
  return stamp(seconds)
end

-- hand_back(piece, attempt) -> what to send: its worker is to end before it has done it
function commands.hand_back(piece, attempt)
  if not own(piece, attempt) then return {} end
  send(piece, true)
  return messages
end

-- use_up(piece, attempt, most, cause) -> what to send; an attempt came to nothing for a reason that nobody foresaw
function commands.use_up(piece, attempt, most, cause)
  -- Asked again, because the answer was lost or its lease had lapsed, it counts once.
  if own(piece, attempt) and redis.call('HGET', out, piece) == 'leased' and not used_up(piece, cause, most) then
    send(piece, true)
  end
  return messages
end

-- abandon(piece, attempt) -> the state now: its worker lets go of it, as of a piece of a job that needs no more work
function commands.abandon(piece, attempt)
  if redis.call('HGET', tries, piece) == attempt and redis.call('HGET', out, piece) == 'leased'
    and get('state') ~= 'processing' then
    leave(piece)
  end
  settle()
  return get('state')
end
