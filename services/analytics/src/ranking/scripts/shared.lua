-- What the writing scripts share. A ranking is a hash at KEYS[1] with `epoch`, `as_of` and how many products it has in all
-- (`products`) and by each of its orders (`#*`: by pieces in all currencies, `#EUR`: by those sold in EUR). Beside it stand
-- the products (`:products`, a hash) and the orders (`:*`, `:EUR`, sorted sets). KEYS[2] is the fence of the writers, ARGV[1]
-- the number of this one's turn, ARGV[2] how long all of it is kept.

local function refused()
  local known = tonumber(redis.call('get', KEYS[2]) or '0')
  if known > tonumber(ARGV[1]) then
    return true
  end
  redis.call('set', KEYS[2], ARGV[1], 'px', ARGV[2])
  return false
end

local function orders(ranking)
  local found = {}
  for _, field in ipairs(redis.call('hkeys', ranking)) do
    if string.sub(field, 1, 1) == '#' then
      found[#found + 1] = string.sub(field, 2)
    end
  end
  return found
end

local function drop(ranking)
  for _, order in ipairs(orders(ranking)) do
    redis.call('unlink', ranking .. ':' .. order)
  end
  redis.call('unlink', ranking .. ':products', ranking)
end

local function keep(ranking)
  for _, order in ipairs(orders(ranking)) do
    redis.call('pexpire', ranking .. ':' .. order, ARGV[2])
  end
  redis.call('pexpire', ranking .. ':products', ARGV[2])
  redis.call('pexpire', ranking, ARGV[2])
end

local function is_of(ranking, epoch)
  return redis.call('hget', ranking, 'epoch') == epoch
end
