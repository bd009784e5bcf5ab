-- Lets a try pass, if none of its counts is delayed, and counts it as failed.
-- KEYS the counts; ARGV after how many milliseconds all is forgotten, then for each count: failures without a delay, the
-- first delay, the longest one, in milliseconds
-- Returns how many milliseconds to wait; 0 for a try that passes.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local wait = 0
for number, key in ipairs(KEYS) do
  local kept = redis.call('HMGET', key, 'count', 'last')
  local count, last = tonumber(kept[1]), tonumber(kept[2])
  if count and last then
    local free, first, longest = tonumber(ARGV[number * 3 - 1]), tonumber(ARGV[number * 3]), tonumber(ARGV[number * 3 + 1])
    local delayed = count - free
    if delayed > 0 then
      local delay = math.min(first * 2 ^ math.min(delayed - 1, 20), longest)
      wait = math.max(wait, delay - math.max(0, now - last))
    end
  end
end
if wait > 0 then
  return math.ceil(wait)
end
for _, key in ipairs(KEYS) do
  redis.call('HINCRBY', key, 'count', 1)
  redis.call('HSET', key, 'last', string.format('%d', now))
  redis.call('PEXPIRE', key, ARGV[1])
end
return 0
