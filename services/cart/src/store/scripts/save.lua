-- Writes carts if they are as they were read, and the proof that it was done: all of it, or nothing.
-- KEYS: the proof, then the carts. ARGV: value and life of the proof in milliseconds; then for each cart the id and version
-- that were read (empty and 0: there was none), its life in milliseconds, how many texts follow, and those: name, value …
-- Gives 1: written; 0: a cart is not as it was read; 2: it was done before.
if redis.call('EXISTS', KEYS[1]) == 1 then
    return 2
end
local at = 3
for key = 2, #KEYS do
    local found = redis.call('HMGET', KEYS[key], 'id', 'version')
    if (found[1] or '') ~= ARGV[at] or (found[2] or '0') ~= ARGV[at + 1] then
        return 0
    end
    at = at + 4 + tonumber(ARGV[at + 3])
end
-- First what a full Redis refuses: nothing is written then. After the first write of a script it refuses nothing more.
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
at = 3
for key = 2, #KEYS do
    local count = tonumber(ARGV[at + 3])
    redis.call('DEL', KEYS[key])
    redis.call('HSET', KEYS[key], unpack(ARGV, at + 4, at + 3 + count))
    redis.call('PEXPIRE', KEYS[key], ARGV[at + 2])
    at = at + 4 + count
end
return 1
