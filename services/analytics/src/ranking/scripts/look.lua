-- Whether the ranking is of the epoch ARGV[3] and whole: 1 or 0, -1 to a writer whose turn is over.
if refused() then
  return -1
end
local ranking = KEYS[1]
if not is_of(ranking, ARGV[3]) then
  return 0
end
for _, order in ipairs(orders(ranking)) do
  if tonumber(redis.call('hget', ranking, '#' .. order)) ~= redis.call('zcard', ranking .. ':' .. order) then
    return 0
  end
end
if tonumber(redis.call('hget', ranking, 'products') or '0') ~= redis.call('hlen', ranking .. ':products') then
  return 0
end
keep(ranking)
return 1
