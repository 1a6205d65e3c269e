-- What belongs to batches. `id` is the batch's here, in the commands that begin with batch_.
--
-- Keys:
--   p batch:{id}         HASH    state, version, owner, created, started, ended, total, error
--                                doc, hook                                what was asked; its own webhook, until the end
--                                next, segment, offset                    the first item that was not looked at
--                                processing, succeeded, failed, canceled  how many items are there
--   p batch:{id}:made    STRING  bitmap of the items that were counted: each is, once
--   p batch:{id}:faulty  STRING  bitmap of those that came to nothing without a job
--   Gone when the batch is over:
--   p batch:{id}:jobs    SET     numbers of items whose jobs are not over
--   p batch:{id}:ended   SET     "item state" of jobs that are over and whose outcome is not in storage yet
--   p batch:{id}:names   SET     digests of custom_ids, while items may be added
--   p batches:$owner, p batches:$owner:open, p batches:open, p batches:over
--                        ZSET    ids by time of creation; those over by when they ended
--   p batches:gone       ZSET    id of a removed batch by when, until its objects are seen to be gone too
-- Functions that jobs' commands use are in base: joined, tally.
local BATCH_OVER = { completed = true, canceled = true, failed = true }

local function bget(field) return redis.call('HGET', batch_key(id), field) end
local function bnumber(field) return tonumber(bget(field) or 0) end
local function bset(...) redis.call('HSET', batch_key(id), ...) end

local function batch_indices(owner)
  return { p .. 'batches:' .. owner, p .. 'batches:' .. owner .. ':open', p .. 'batches:open' }
end

local function batch_move(to)
  bset('state', to)
  redis.call('HINCRBY', batch_key(id), 'version', 1)
  if to == 'processing' and not bget('started') then bset('started', stamp(now())) end
end

-- The one place where a batch ends: what is owed for it is written here, in the same step.
local function batch_over(to)
  batch_move(to)
  local owner, moment = bget('owner'), stamp(now())
  bset('ended', moment)
  for _, part in ipairs({ ':jobs', ':ended', ':names' }) do redis.call('DEL', batch_key(id) .. part) end
  redis.call('ZREM', p .. 'batches:open', id)
  redis.call('ZREM', p .. 'batches:' .. owner .. ':open', id)
  redis.call('ZADD', p .. 'batches:over', moment, id)
  owe(owner, id, 'batch.completed', bget('version'), to, bget('hook'), '')
  redis.call('HDEL', batch_key(id), 'hook')
end

-- batch_create(owner, created, state, total, most_open, document, hook)
-- -> 'created', 'known', or 'full' if as many of its owner's are not over. Most of 0: however many; a hook of '': none.
function commands.batch_create(owner, created, state, total, most, text, hook)
  if redis.call('EXISTS', batch_key(id)) == 1 then return 'known' end
  local indices = batch_indices(owner)
  if tonumber(most) > 0 and redis.call('ZCARD', indices[2]) >= tonumber(most) then return 'full' end
  bset('state', state, 'version', 1, 'owner', owner, 'created', created, 'total', total, 'doc', text)
  if hook ~= '' then bset('hook', hook) end
  if state == 'processing' then bset('started', stamp(now())) end
  for _, index in ipairs(indices) do redis.call('ZADD', index, created, id) end
  redis.call('ZREM', p .. 'batches:gone', id)
  return 'created'
end

-- batch_grow(total, count, digest, …) -> {'grown'}, {'not_open'}, {'moved'} if it has not `total` items, or {'twice'} and
-- the positions of those names that it has already
function commands.batch_grow(total, count, ...)
  if bget('state') ~= 'open' then return { 'not_open' } end
  if bnumber('total') ~= tonumber(total) then return { 'moved' } end
  local names, twice = { ... }, { 'twice' }
  for i, name in ipairs(names) do
    if redis.call('SISMEMBER', batch_key(id) .. ':names', name) == 1 then twice[#twice + 1] = i - 1 end
  end
  if #twice > 1 then return twice end
  for _, name in ipairs(names) do redis.call('SADD', batch_key(id) .. ':names', name) end
  redis.call('HINCRBY', batch_key(id), 'total', count)
  redis.call('HINCRBY', batch_key(id), 'version', 1)
  return { 'grown' }
end

-- batch_close() -> the state now, or false if there is no such batch
function commands.batch_close()
  if bget('state') == 'open' then
    batch_move('processing')
    redis.call('DEL', batch_key(id) .. ':names')
  end
  return bget('state')
end

-- batch_cancel() -> the state now, or false if there is no such batch
function commands.batch_cancel()
  local state = bget('state')
  if state and not BATCH_OVER[state] and state ~= 'canceling' then batch_move('canceling') end
  return bget('state')
end

-- batch_listed(total) -> 1 if its items are known now
function commands.batch_listed(total)
  if bget('state') ~= 'validating' then return 0 end
  bset('total', total)
  batch_move('processing')
  return 1
end

-- batch_fail(error) -> 1 if it has failed now
function commands.batch_fail(text)
  if bget('state') ~= 'validating' then return 0 end
  bset('error', text)
  batch_over('failed')
  return 1
end

-- batch_advance(from, to, segment, offset) -> 1 if the next item is `to` now
function commands.batch_advance(from, to, segment, offset)
  if bnumber('next') ~= tonumber(from) then return 0 end
  bset('next', to, 'segment', segment, 'offset', offset)
  return 1
end

-- batch_fault(item) -> 1 if it is counted as failed now; its outcome is in storage
function commands.batch_fault(item)
  local state = bget('state')
  if not state or BATCH_OVER[state] or redis.call('SETBIT', batch_key(id) .. ':made', item, 1) == 1 then return 0 end
  redis.call('SETBIT', batch_key(id) .. ':faulty', item, 1)
  redis.call('HINCRBY', batch_key(id), 'failed', 1)
  redis.call('HINCRBY', batch_key(id), 'version', 1)
  return 1
end

-- batch_count(state, item, …) -> nothing: outcomes that storage has of a batch whose record is made anew
function commands.batch_count(state, ...)
  for _, item in ipairs({ ... }) do
    if redis.call('SETBIT', batch_key(id) .. ':made', item, 1) == 0 then
      redis.call('HINCRBY', batch_key(id), state, 1)
    end
  end
end

-- batch_adopt(job, item) -> 1 if a job of the batch that was there without it is counted now
function commands.batch_adopt(name, item)
  local batch = id
  enter(name)
  local state = get('state')
  return state and count_in(batch, item, state) and 1 or 0
end

-- batch_collected(entry, …) -> nothing: these outcomes are in storage
function commands.batch_collected(...)
  redis.call('SREM', batch_key(id) .. ':ended', ...)
end

-- batch_end() -> 1 if it is over now, 0 if there is something to do for it yet, or it was over before
function commands.batch_end()
  local state, key = bget('state'), batch_key(id)
  if state ~= 'processing' and state ~= 'canceling' then return 0 end
  if redis.call('SCARD', key .. ':jobs') > 0 or redis.call('SCARD', key .. ':ended') > 0 then return 0 end
  if state == 'processing' and bnumber('next') < bnumber('total') then return 0 end
  if state == 'canceling' then
    bset('canceled', bnumber('total') - bnumber('succeeded') - bnumber('failed'))
  end
  batch_over(state == 'processing' and 'completed' or 'canceled')
  return 1
end

-- batch_rebuild(owner, created, started, ended, state, total, next, succeeded, failed, canceled, error, document)
-- -> 1 if the record of a batch that is over was made anew, 0 if it is there
function commands.batch_rebuild(owner, created, started, ended, state, total, following, succeeded, failed, canceled,
  fault, text)
  if redis.call('EXISTS', batch_key(id)) == 1 then return 0 end
  bset('state', state, 'version', 1, 'owner', owner, 'created', created, 'ended', ended, 'total', total,
    'next', following, 'succeeded', succeeded, 'failed', failed, 'canceled', canceled, 'doc', text)
  if started ~= '' then bset('started', started) end
  if fault ~= '' then bset('error', fault) end
  redis.call('ZADD', p .. 'batches:' .. owner, created, id)
  redis.call('ZADD', p .. 'batches:over', ended, id)
  return 1
end

-- batch_remove() -> 1 if the record of a batch that is over was removed
function commands.batch_remove()
  local state, owner = bget('state'), bget('owner')
  if not BATCH_OVER[state] then return 0 end
  for _, index in ipairs(batch_indices(owner)) do redis.call('ZREM', index, id) end
  redis.call('ZREM', p .. 'batches:over', id)
  local key = batch_key(id)
  redis.call('DEL', key, key .. ':made', key .. ':faulty', key .. ':jobs', key .. ':ended', key .. ':names')
  redis.call('ZADD', p .. 'batches:gone', stamp(now()), id)
  return 1
end
