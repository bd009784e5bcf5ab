-- Begins an empty ranking of the epoch ARGV[3]. 1, or -1 to a writer whose turn is over.
if refused() then
  return -1
end
drop(KEYS[1])
redis.call('hset', KEYS[1], 'epoch', ARGV[3])
keep(KEYS[1])
return 1
