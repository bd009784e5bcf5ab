# shellcheck shell=bash disable=SC2154
# Developer tools, pinned: Go programs by dev/tools/go.sum (Compose by dev/compose/go.sum), buf by dev/buf/package-lock.json,
# cargo-deny by its version, Debian packages for the rest.

# Each by itself: who checks a file does not wait for the two programs that speak gRPC.
tools_inputs=("$dev/tools/go.mod" "$dev/tools/go.sum")
tools_compile() {
  say "building $1 (about a minute, once)"
  go_build "$dev/tools" "$2" "$3"
}

alerts_inputs=("$dev/alerts/go.mod" "$dev/alerts/go.sum" "$dev/alerts/main.go" "$dev/alerts/tests.go")
alerts_compile() {
  say "building alerts-check (about a minute, once)"
  mkdir -p "$1" && go_build "$dev/alerts" . "$1/alerts-check.d" && mv "$1/alerts-check.d/alerts" "$1/alerts-check"
}

# `docker compose` is a plugin, which Debian's docker.io lacks.
compose_inputs=("$dev/compose/go.mod" "$dev/compose/go.sum")
compose_build() {
  say "building Docker Compose (some minutes, once)"
  go_build "$dev/compose" github.com/docker/compose/v2/cmd "$1" && mv "$1/cmd" "$1/docker-compose"
}

buf_inputs=("$dev/buf/package.json" "$dev/buf/package-lock.json")
# Not `npm ci`: it refuses where the registry lacks buf's packages for other systems.
buf_install() {
  say "fetching buf (once)"
  cp "${buf_inputs[@]}" "$1/" && npm install --prefix "$1" --ignore-scripts --no-audit --no-fund --loglevel=error
}

# Unoptimised: built in a quarter of the time, and fast enough.
deny_inputs=("$dev/tools/cargo-deny-version")
deny_install() {
  local version
  version=$(<"$dev/tools/cargo-deny-version")
  say "building cargo-deny $version (about a minute, once)"
  (cd / && CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$1/target cargo install --quiet --locked --debug \
    --version "$version" --root "$1" cargo-deny) && rm -rf "$1/target"
}

# tool_path NAME: prints where a tool is; fetches or builds it when it is not there yet.
tool_path() {
  local folder package inputs=()
  case $1 in
    grpcurl | ghz | compose-check)
      have go || die "$1: needs Go 1.25 or later (https://go.dev/dl)"
      case $1 in
        grpcurl) package=github.com/fullstorydev/grpcurl/cmd/grpcurl ;;
        ghz) package=github.com/bojand/ghz/cmd/ghz ;;
        compose-check) package=./compose-check inputs=("$dev/tools/compose-check/main.go") ;;
      esac
      folder=$(cached "$1" "${tools_inputs[@]}" "${inputs[@]}" -- tools_compile "$1" "$package") && printf '%s/%s' "$folder" "$1"
      ;;
    alerts-check)
      have go || die "$1: needs Go 1.25 or later (https://go.dev/dl)"
      folder=$(cached alerts "${alerts_inputs[@]}" -- alerts_compile) && printf '%s/%s' "$folder" "$1"
      ;;
    docker-compose)
      have go || die "docker-compose: needs Go 1.25 or later (https://go.dev/dl)"
      folder=$(cached docker-compose "${compose_inputs[@]}" -- compose_build) && printf '%s/docker-compose' "$folder"
      ;;
    buf)
      have npm || die "buf: needs Node.js 20 or later with npm"
      folder=$(cached buf "${buf_inputs[@]}" -- buf_install) && printf '%s/node_modules/.bin/buf' "$folder"
      ;;
    cargo-deny)
      folder=$(cached cargo-deny "${deny_inputs[@]}" -- deny_install) && printf '%s/bin/cargo-deny' "$folder"
      ;;
    jaeger) jaeger_program ;;
    maildev) mail_program ;;
    kcat | shellcheck)
      have "$1" || { make_data_dir && need_packages "$1"; } || return 1
      command -v "$1"
      ;;
    *) die "$1: no such tool; there are grpcurl, ghz, buf, alerts-check, compose-check, docker-compose, cargo-deny, jaeger, maildev, kcat, shellcheck" ;;
  esac
}
