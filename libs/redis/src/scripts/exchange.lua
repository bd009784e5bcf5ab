-- Tells names and forgets names, and gives those that others have told since.
-- KEYS[1]: a sorted set, names by the time in microseconds at which they were told.
-- ARGV: how long they are kept (ms), how many at most, since when those of others are asked for, how many are forgotten,
-- the forgotten ones, the told ones. Gives the time, and then each name.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local keep, most, since, forgotten = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
for index = 5, 4 + forgotten do
  redis.call('ZREM', KEYS[1], ARGV[index])
end
for index = 5 + forgotten, #ARGV do
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[index])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - keep * 1000))
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - most)
redis.call('PEXPIRE', KEYS[1], keep)
-- A clock that was set back.
if since > now then
  since = 0
end
local names = redis.call('ZRANGEBYSCORE', KEYS[1], string.format('%.0f', since), '+inf')
table.insert(names, 1, string.format('%.0f', now))
return names
