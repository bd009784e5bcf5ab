-- A try did not fail after all.
-- KEYS the counts; ARGV[1] how many of them, from the first one on, are forgotten: the others have one failure less
for number, key in ipairs(KEYS) do
  local count = tonumber(redis.call('HGET', key, 'count'))
  -- What counts nothing takes no room.
  if number <= tonumber(ARGV[1]) or (count and count <= 1) then
    redis.call('DEL', key)
  elseif count then
    redis.call('HINCRBY', key, 'count', -1)
  end
end
return 0
