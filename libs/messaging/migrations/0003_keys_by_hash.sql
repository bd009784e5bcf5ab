-- Keys are looked up by their hash. Kafka lets a key be as long as a message, and an index row may hold 2,700 bytes:
-- a longer key could not be parked, and its whole group stood still.
drop index parked_message_key;
create index parked_message_key on parked_message (topic, sha256(key), sequence);
