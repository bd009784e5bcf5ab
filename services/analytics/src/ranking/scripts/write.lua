-- Writes products as they stand now into a ranking of the epoch ARGV[3]. ARGV[4] is how many orders follow; then, for each
-- product: its SKU, itself (empty: it leaves the ranking), and its place in each of these orders (empty: none).
-- 1, 0 where there is no such ranking, -1 to a writer whose turn is over.
if refused() then
  return -1
end
local ranking = KEYS[1]
if not is_of(ranking, ARGV[3]) then
  return 0
end
local count = tonumber(ARGV[4])
local at = 5 + count
while at <= #ARGV do
  local sku, product = ARGV[at], ARGV[at + 1]
  for index = 1, count do
    local order, pieces = ranking .. ':' .. ARGV[4 + index], ARGV[at + 1 + index]
    if pieces == '' then
      redis.call('zrem', order, sku)
    else
      redis.call('zadd', order, pieces, sku)
    end
  end
  if product == '' then
    redis.call('hdel', ranking .. ':products', sku)
  else
    redis.call('hset', ranking .. ':products', sku, product)
  end
  at = at + 2 + count
end
for index = 1, count do
  local order = ARGV[4 + index]
  redis.call('hset', ranking, '#' .. order, redis.call('zcard', ranking .. ':' .. order))
end
redis.call('hset', ranking, 'products', redis.call('hlen', ranking .. ':products'))
keep(ranking)
return 1
