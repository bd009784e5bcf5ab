# shellcheck shell=bash disable=SC2154,SC2034
# Redis (or Valkey) from the system's package.

redis_port=${OPENORDER_REDIS_PORT:-16379}
redis_variable=OPENORDER_REDIS_URL
redis_default_port=6379
redis_stop_signal=TERM
redis_start_seconds=20
redis_marker() { printf -- '--dir %s/redis' "$data"; }
redis_address() { printf 'redis://127.0.0.1:%s' "$1"; }
redis_server() { command -v redis-server || command -v valkey-server; }
redis_packages() { redis_server >/dev/null || echo redis-server; }
redis_need_ports() { need_port "$redis_port" OPENORDER_REDIS_PORT redis; }

redis_launch() {
  launch "$data/redis/pid" "$data/redis/server.log" \
    "$(redis_server)" "$dev/redis/redis.conf" --port "$redis_port" --dir "$data/redis"
}

redis_ready() { redis_answers "$redis_port"; }
# PING in Redis' own protocol: no client program is needed.
redis_answers() {
  local answer=''
  (
    exec 7<>"/dev/tcp/127.0.0.1/$1" || exit 1
    printf 'PING\r\n' >&7
    IFS= read -r -t 1 answer <&7 || true
    [ "${answer%$'\r'}" = +PONG ]
  ) 2>/dev/null
}
