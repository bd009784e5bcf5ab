# shellcheck shell=bash disable=SC2154,SC2034
# The `openorder` program as a local server: what it is told, starting, waiting, stopping.

program_profile=${OPENORDER_DEV_PROFILE:-demo}
program=$repository/target/$program_profile/openorder
program_home=$data/server
program_logs=$data/logs
# Of whichever profile.
program_process="openorder serve all"

# Variables of the scripts that are no settings of the program; it refuses names that it does not know.
script_variables=(
  OPENORDER_STACK OPENORDER_DATA_DIR OPENORDER_KAFKA_PORT OPENORDER_KAFKA_CONTROLLER_PORT OPENORDER_POSTGRES_PORT
  OPENORDER_REDIS_PORT OPENORDER_JAEGER_PORT OPENORDER_OTLP_PORT OPENORDER_POSTGRES_URL OPENORDER_REDIS_URL
  OPENORDER_OTLP_ENDPOINT OPENORDER_JAEGER_URL OPENORDER_SMTP_PORT OPENORDER_MAIL_PORT OPENORDER_SMTP_URL
  OPENORDER_MAIL_URL
)

gateway_address=${OPENORDER_GATEWAY_LISTEN_ADDRESS:-127.0.0.1:8080}
admin_address=${OPENORDER_ADMIN_LISTEN_ADDRESS:-127.0.0.1:8081}

# The roles that have a database of their own: a folder each.
program_services() { (cd "$repository/services" && printf '%s\n' *); }

# Exports the stack's addresses as settings of the program, where the user has not set them, and the rest not at all.
program_environment() {
  local service variable server query=''
  eval "$("$dev/stack" env)"
  server=$(sed -E 's#^([a-z]+://[^/?]+).*#\1#' <<<"$OPENORDER_POSTGRES_URL")
  if [[ "$OPENORDER_POSTGRES_URL" == *\?* ]]; then query="?${OPENORDER_POSTGRES_URL#*\?}"; fi
  for service in $(program_services); do
    variable=OPENORDER_${service^^}_DATABASE_URL
    export "$variable=${!variable:-$server/openorder_$service$query}"
  done
  for service in order notification analytics cart user; do
    variable=OPENORDER_${service^^}_REDIS_URL
    export "$variable=${!variable:-$OPENORDER_REDIS_URL}"
  done
  export OPENORDER_TELEMETRY_LOG_DIRECTORY=${OPENORDER_TELEMETRY_LOG_DIRECTORY:-$program_logs}
  export OPENORDER_TELEMETRY_OTLP_ENDPOINT=${OPENORDER_TELEMETRY_OTLP_ENDPOINT:-${OPENORDER_OTLP_ENDPOINT:-}}
  mail_environment
  jaeger_url=${OPENORDER_JAEGER_URL:-http://127.0.0.1:16686}
  export OPENORDER_OPERATIONS_JAEGER_URL=${OPENORDER_OPERATIONS_JAEGER_URL:-$jaeger_url}
  # Here every order can be looked at; in production a tenth is recorded.
  export OPENORDER_TELEMETRY_SAMPLING_RATIO=${OPENORDER_TELEMETRY_SAMPLING_RATIO:-1.0}
  unset "${script_variables[@]}" "${!OPENORDER_DEV_@}"
}

# Mail goes to the stack's mail server, where there is one and the user has not said otherwise.
mail_environment() {
  local server
  mail_url=${OPENORDER_MAIL_URL:-}
  if [ -z "${OPENORDER_SMTP_URL:-}" ] || [ -n "${OPENORDER_NOTIFICATION_EMAIL_TRANSPORT:-}" ]; then return 0; fi
  server=${OPENORDER_SMTP_URL#smtp://}
  server=${server%%/*}
  export OPENORDER_NOTIFICATION_EMAIL_TRANSPORT=smtp
  export OPENORDER_NOTIFICATION_SMTP_HOST=${OPENORDER_NOTIFICATION_SMTP_HOST:-${server%:*}}
  export OPENORDER_NOTIFICATION_SMTP_PORT=${OPENORDER_NOTIFICATION_SMTP_PORT:-${server##*:}}
  export OPENORDER_NOTIFICATION_SMTP_SECURITY=${OPENORDER_NOTIFICATION_SMTP_SECURITY:-none}
}

# What the running server was made of and told; another one is restarted.
program_fingerprint() { { stat -Lc '%i %Y %s' "$program"; env | grep ^OPENORDER_ | sort; } | sha256sum | cut -c1-64; }

program_running() { find_process "$program_home/pid" "$program_process"; }

program_need_ports() {
  need_port "${gateway_address##*:}" OPENORDER_GATEWAY_LISTEN_ADDRESS gateway &&
    need_port "${admin_address##*:}" OPENORDER_ADMIN_LISTEN_ADDRESS 'admin port'
}

# Starts the server, or leaves it alone when it is the same already. The environment is set.
program_start() {
  local pid fingerprint
  mkdir -p "$program_home" "$program_logs"
  chmod 700 "$program_home" "$program_logs" # those of an earlier version were everybody's to read
  fingerprint=$(program_fingerprint)
  if pid=$(program_running); then
    if [ "$(cat "$program_home/fingerprint" 2>/dev/null)" = "$fingerprint" ]; then
      say "server: already running (pid $pid)"
      return 0
    fi
    say "server: restarting, it is another build or was told other settings"
    program_stop
  fi
  program_need_ports || return 1
  printf '%s\n' "$fingerprint" >"$program_home/fingerprint"
  (cd "$repository" && launch "$program_home/pid" "$program_home/server.log" "$program" serve all)
  say "server: started, its logs are in $OPENORDER_TELEMETRY_LOG_DIRECTORY"
}

# The body of GET http://HOST:PORT/PATH.
http_get() {
  (
    exec 7<>"/dev/tcp/${1%:*}/${1##*:}" || exit 1
    printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$2" "$1" >&7
    timeout 3 cat <&7
  ) 2>/dev/null
}

# Names of the dependencies that are not ready, out of /readyz: order/postgres, payment/kafka.
not_ready() { sed -nE 's/.*"role":"([^"]*)","name":"([^"]*)","need":"[^"]*","state":"([^"]*)".*/\1\/\2 \3/p' <<<"${1//\{/$'\n'}" | grep -v ' ready$'; }

program_wait_until_ready() {
  local i answer waiting last=''
  for ((i = 0; i < 600; i++)); do
    answer=$(http_get "$admin_address" /readyz || true)
    case $answer in
      *'"status":"ready"'*) say "server: ready, gRPC on $gateway_address"; return 0 ;;
      *'"status":"degraded"'*)
        # It answers calls; half a minute is given for the rest.
        if ((i >= 300)); then
          say "server: answers calls on $gateway_address, without $(not_ready "$answer" | paste -sd, | sed 's/,/, /g')"
          return 0
        fi ;;
    esac
    # A process that was started just now may not be the program yet.
    if ((i >= 20)) && ! program_running >/dev/null; then break; fi
    waiting=$(not_ready "$answer" | paste -sd, | sed 's/,/, /g' || true)
    if [ -n "$waiting" ] && [ "$waiting" != "$last" ]; then say "server: waiting for $waiting"; fi
    last=$waiting
    sleep 0.1
  done
  say "server: is not ready; the end of $program_home/server.log:"
  tail -20 "$program_home/server.log" >&2
  return 1
}

program_stop() {
  local pid
  if pid=$(program_running); then
    end_process "$pid" "$program_process" TERM 40
    say "server: stopped"
  fi
  rm -f "$program_home/pid"
}
