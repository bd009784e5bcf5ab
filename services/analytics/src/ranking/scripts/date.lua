-- All that was counted by ARGV[4] is in the ranking of the epoch ARGV[3].
-- 1, 0 where there is no such ranking, -1 to a writer whose turn is over.
if refused() then
  return -1
end
if not is_of(KEYS[1], ARGV[3]) then
  return 0
end
redis.call('hset', KEYS[1], 'as_of', ARGV[4])
keep(KEYS[1])
return 1
