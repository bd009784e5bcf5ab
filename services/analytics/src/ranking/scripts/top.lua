-- The first ARGV[2] products of the ranking at KEYS[1], by its order ARGV[1]: as of when, then the pieces and the product
-- for each. Nothing where the ranking is not there or not whole.
local ranking, order = KEYS[1], ARGV[1]
local head = redis.call('hmget', ranking, 'as_of', '#' .. order)
if not head[1] then
  return false
end
if tonumber(head[2] or '0') ~= redis.call('zcard', ranking .. ':' .. order) then
  return false
end
local answer = { head[1] }
local top = redis.call('zrevrange', ranking .. ':' .. order, 0, tonumber(ARGV[2]) - 1, 'withscores')
for index = 1, #top, 2 do
  local product = redis.call('hget', ranking .. ':products', top[index])
  if not product then
    return false
  end
  answer[#answer + 1] = top[index + 1]
  answer[#answer + 1] = product
end
return answer
