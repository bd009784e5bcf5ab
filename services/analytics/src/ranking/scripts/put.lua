-- Puts a ranking of the epoch ARGV[3] that was filled in place of the one at KEYS[3], as of ARGV[4].
-- 1, 0 where there is no such ranking, -1 to a writer whose turn is over.
if refused() then
  return -1
end
local filled, ranking = KEYS[1], KEYS[3]
if not is_of(filled, ARGV[3]) then
  return 0
end
drop(ranking)
local parts = orders(filled)
parts[#parts + 1] = 'products'
for _, part in ipairs(parts) do
  if redis.call('exists', filled .. ':' .. part) == 1 then
    redis.call('rename', filled .. ':' .. part, ranking .. ':' .. part)
  end
end
redis.call('rename', filled, ranking)
redis.call('hset', ranking, 'as_of', ARGV[4])
keep(ranking)
return 1
