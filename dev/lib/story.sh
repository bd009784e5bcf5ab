# shellcheck shell=bash disable=SC2154
# The system that the clients' story runs against: starting, the gateway's end and return, stopping.

story_program=${STORY_PROGRAM:-$repository/target/debug/openorder}

# A port that is free now, for the variable.
story_port() {
  local number
  for ((number = 20000 + RANDOM % 10000; ; number++)); do
    if ! port_open 127.0.0.1 "$number"; then break; fi
  done
  printf -v "$1" '127.0.0.1:%s' "$number"
}

# What the tests of a language are given. STORY_* is for them, and nothing of OPENORDER_*.
story_variables() {
  eval "$("$dev/stack" env)"
  STORY_NAME=story$$
  export STORY_HOME=$data/$STORY_NAME
  mkdir -p "$STORY_HOME"
  story_port STORY_GATEWAY
  story_port STORY_PAGE
  export STORY_GATEWAY STORY_PAGE
  export STORY_OPERATOR_EMAIL=operator@example.com STORY_OPERATOR_PASSWORD=$STORY_NAME-tells-a-story
  export STORY_KAFKA_BROKERS=$OPENORDER_KAFKA_BROKERS STORY_TOPIC_PREFIX=$STORY_NAME.
  export STORY_JAEGER_URL=${OPENORDER_JAEGER_URL:-} STORY_OTLP_ENDPOINT=${OPENORDER_OTLP_ENDPOINT:-}
  # Kills the gateway, or freezes it: `"$STORY_CONTROL" gateway kill`.
  export STORY_CONTROL=$dev/story
  export STORY_PROGRAM=$story_program
}

# The settings of both processes, as a file: the gateway is started by whoever kills it, too.
story_settings() {
  local service server=${OPENORDER_POSTGRES_URL%%\?*} query='' address
  server=${server%/*}
  if [[ "$OPENORDER_POSTGRES_URL" == *\?* ]]; then query="?${OPENORDER_POSTGRES_URL#*\?}"; fi
  printf '[kafka]\nbrokers = "%s"\ntopic_prefix = "%s"\n' "$STORY_KAFKA_BROKERS" "$STORY_TOPIC_PREFIX"
  printf '[telemetry]\notlp_endpoint = "%s"\nsampling_ratio = 1.0\nlog_directory = "%s"\n' "$STORY_OTLP_ENDPOINT" "$STORY_HOME"
  # Whoever forgets its token in a step is refused there, and the page of a browser may call.
  printf '[gateway]\nlisten_address = "%s"\nanonymous = "none"\n' "$STORY_GATEWAY"
  printf 'trust_interval_ms = 250\ncors_origins = "http://%s"\n' "$STORY_PAGE"
  declare -A addresses=()
  for service in $(program_services); do
    story_port address
    addresses[$service]=$address
    printf '[%s]\nlisten_address = "%s"\ndatabase_url = "%s"\n' "$service" "$address" "$server/${STORY_NAME}_$service$query"
    if [[ "$service" =~ ^(order|notification|analytics|cart|user)$ ]]; then printf 'redis_url = "%s"\n' "$OPENORDER_REDIS_URL"; fi
    if [ "$service" = operations ]; then printf 'jaeger_url = "%s"\n' "$STORY_JAEGER_URL"; fi
    # Tokens end many times in a story, and who was away for as long as a busy machine takes is no thief.
    if [ "$service" = user ]; then printf 'access_token_life_ms = 10000\nrefresh_grace_ms = 60000\n'; fi
  done
  printf '[services]\n'
  for service in "${!addresses[@]}"; do printf '%s = "http://%s"\n' "$service" "${addresses[$service]}"; done
}

# A process of the system: roles in one process, with an admin port of its own.
story_start() {
  local name=$1
  shift
  (
    unset "${!OPENORDER_@}"
    cd "$STORY_HOME" && OPENORDER_CONFIG=$STORY_HOME/openorder.toml OPENORDER_ADMIN_LISTEN_ADDRESS=$(cat "$STORY_HOME/$name.admin") \
      launch "$STORY_HOME/$name.pid" "$STORY_HOME/$name.log" "$story_program" serve "$@"
  )
}

# Who tells the story.
story_operator() {
  (
    unset "${!OPENORDER_@}"
    printf '%s\n' "$STORY_OPERATOR_PASSWORD" | OPENORDER_CONFIG=$STORY_HOME/openorder.toml \
      "$story_program" user create-operator --email "$STORY_OPERATOR_EMAIL" >"$STORY_HOME/operator.log" 2>&1
  ) || { cat "$STORY_HOME/operator.log" >&2; die "story: no operator could be made"; }
}

story_wait_until_ready() {
  local i admin
  admin=$(cat "$STORY_HOME/$1.admin")
  for ((i = 0; i < 900; i++)); do
    if [[ "$(http_get "$admin" /readyz || true)" == *'"status":"ready"'* ]]; then return 0; fi
    sleep 0.1
  done
  say "story: $1 is not ready; the end of its log:"
  tail -20 "$STORY_HOME/$1.log" >&2
  return 1
}

story_end() {
  local pid
  if pid=$(find_process "$STORY_HOME/$1.pid" "$story_program serve"); then end_process "$pid" "$story_program serve" TERM 40; fi
}

# What the tests do to the gateway. It is theirs alone.
story_gateway() {
  local pid
  : "${STORY_HOME:?is set by a running story: dev/story shell}"
  read -r pid <"$STORY_HOME/gateway.pid"
  process_is "$pid" "$story_program serve gateway" || die "story: the gateway does not run"
  case $1 in
    freeze) kill -STOP "$pid" ;;
    thaw) kill -CONT "$pid" ;;
    kill)
      kill -KILL "$pid"
      sleep 1
      story_start gateway gateway
      ;;
    *) die "story: what to do to the gateway is kill, freeze or thaw" ;;
  esac
}

# shellcheck disable=SC2317 # called by the trap
story_clean_up() {
  local status=$? service
  trap - EXIT
  story_end gateway
  story_end services
  for service in $(program_services); do
    printf 'drop database if exists "%s" with (force);\n' "${STORY_NAME}_$service"
  done | "$(postgres_client)" -q "$OPENORDER_POSTGRES_URL" >/dev/null 2>&1 || true
  if [ $status = 0 ]; then rm -rf "$STORY_HOME"; else say "story: its logs stay in $STORY_HOME"; fi
  exit "$status"
}

# story_with COMMAND...: runs a command beside a system that lives as long as it does.
story_with() {
  local name port
  [ -x "$story_program" ] || die "story: $story_program is not there: cargo build"
  story_variables
  for name in gateway services; do
    story_port port
    printf '%s\n' "$port" >"$STORY_HOME/$name.admin"
  done
  (umask 077 && story_settings >"$STORY_HOME/openorder.toml")
  trap story_clean_up EXIT
  # shellcheck disable=SC2046 # a role a word
  story_start services $(program_services)
  story_start gateway gateway
  story_wait_until_ready services && story_wait_until_ready gateway || return 1
  story_operator
  say "story: the system is ready, its gateway is $STORY_GATEWAY"
  "$@"
}

# All languages, even when one fails.
story_languages() {
  local language failed=()
  for language in "$@"; do
    if (unset "${!OPENORDER_@}" && timeout -k 30 600 "$repository/clients/$language/run" story); then
      say "story: $language: ok"
    else
      say "story: $language: FAILED"
      failed+=("$language")
    fi
  done
  [ ${#failed[@]} = 0 ]
}
