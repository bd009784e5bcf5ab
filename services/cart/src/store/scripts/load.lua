-- Reads carts, and keeps them for longer; and what stands under one more key, if there is one.
-- KEYS: carts, then perhaps the other key. ARGV: for each cart how long it is kept from now on, in milliseconds.
local carts = {}
for at = 1, #ARGV do
    carts[at] = redis.call('HGETALL', KEYS[at])
    redis.call('PEXPIRE', KEYS[at], ARGV[at])
end
local proof = KEYS[#ARGV + 1] and redis.call('GET', KEYS[#ARGV + 1])
return {carts, proof or ''}
