# shellcheck shell=bash disable=SC2154,SC2034
# Jaeger 2: OTLP receiver, trace storage in memory, query API and page in one process. Built from its Go module, once;
# its page comes out of a crate that carries the production build.

jaeger_port=${OPENORDER_OTLP_PORT:-4317} # what clients send to
jaeger_ui_port=${OPENORDER_JAEGER_PORT:-16686}
jaeger_variable=OPENORDER_OTLP_ENDPOINT
jaeger_default_port=4317
jaeger_stop_signal=TERM
jaeger_start_seconds=20
jaeger_marker() { printf 'jaeger --config %s/jaeger/jaeger.yaml' "$data"; }
jaeger_address() { printf 'http://127.0.0.1:%s' "$1"; }
jaeger_packages() { :; }

jaeger_need_ports() {
  need_port "$jaeger_port" OPENORDER_OTLP_PORT 'jaeger (OTLP)' &&
    need_port "$jaeger_ui_port" OPENORDER_JAEGER_PORT jaeger
}

jaeger_inputs=("$dev/jaeger/go.mod" "$dev/jaeger/go.sum")
jaeger_built() { [ -d "$cache/jaeger-$(cat "${jaeger_inputs[@]}" | sha256sum | cut -c1-16)" ]; }
jaeger_compile() {
  say "jaeger: building (about 3 minutes, once)"
  go_build "$dev/jaeger" github.com/jaegertracing/jaeger/cmd/jaeger "$1"
}
# Prints the path of the program; builds it when it is not there yet.
jaeger_program() {
  local folder
  if ! jaeger_built && ! have go; then
    say "jaeger: Go is not installed (https://go.dev/dl, 1.25 or later): going on without traces"
    return 1
  fi
  folder=$(cached jaeger "${jaeger_inputs[@]}" -- jaeger_compile) && printf '%s/jaeger' "$folder"
}

jaeger_fetch_page() {
  local source
  (cd "$dev/jaeger/ui" && cargo fetch --locked --quiet) || return 1
  source=$(printf '%s\n' "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/otlp-embedded-0.0.2/jaeger-ui/build | head -1)
  [ -f "$source/index.html" ] && cp -r "$source/." "$1/"
}

jaeger_launch() {
  local home=$data/jaeger program page=''
  program=$(jaeger_program) || return 1
  page=$(cached jaeger-ui "$dev/jaeger/ui/Cargo.lock" -- jaeger_fetch_page 2>"$home/ui.log") ||
    say "jaeger: its page could not be fetched (see $home/ui.log): going on with the query API alone"
  sed -e "s#@PAGE@#$page#; s#@UI_PORT@#$jaeger_ui_port#; s#@PORT@#$jaeger_port#" \
    "$dev/jaeger/jaeger.yaml.in" >"$home/jaeger.yaml"
  printf '%s\n' "$jaeger_ui_port" >"$home/ui.port"
  # Memory for time: traces are kept in memory, and the collector of garbage would walk over them again and again.
  launch "$home/pid" "$home/server.log" env GOGC=300 GOMEMLIMIT=2GiB "$program" --config "$home/jaeger.yaml"
}

jaeger_ready() { grep -q 'Everything is ready' "$data/jaeger/server.log" 2>/dev/null; }
jaeger_answers() { port_open 127.0.0.1 "$1"; }
