-- Takes calls out of a caller's bucket: as many as there are, up to those that are wanted.
-- KEYS[1] the bucket; ARGV calls a second, calls at most, calls wanted
-- Returns how many were taken, and, for none, in how many milliseconds there is one.
local rate, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(held[1]) or burst
local at = tonumber(held[2]) or now
tokens = math.min(burst, tokens + math.max(0, now - at) * rate / 1000)
local taken = math.min(wanted, math.floor(tokens))
tokens = tokens - taken
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%d', now))
-- A bucket that is full again is as one that was never there.
redis.call('PEXPIRE', KEYS[1], math.ceil(burst * 1000 / rate) + 1000)
local wait = 0
if taken == 0 then
  wait = math.max(1, math.ceil((1 - tokens) * 1000 / rate))
end
return {taken, wait}
