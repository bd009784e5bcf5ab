# shellcheck shell=bash disable=SC2154,SC2034
# PostgreSQL from the system's package, with a cluster of its own. The server refuses to run as root: then it runs as
# the user postgres, which owns the database and nothing beside it, so that no file that root opens is of its choosing.
# Its superuser could run programs as the server's user: local users have to know a password, which is generated.

postgres_port=${OPENORDER_POSTGRES_PORT:-15432}
postgres_variable=OPENORDER_POSTGRES_URL
postgres_default_port=5432
postgres_stop_signal=INT # "fast": open sessions are ended, the data is flushed
postgres_start_seconds=60
postgres_marker() { printf 'postgres -D %s/postgres/db' "$data"; }
postgres_password_file() { printf '%s/postgres/password' "$data"; }
# A server that was started by an earlier version has no password, and asks for none.
postgres_address() {
  local password=''
  if [ -r "$(postgres_password_file)" ]; then password=:$(<"$(postgres_password_file)"); fi
  printf 'postgres://postgres%s@127.0.0.1:%s/postgres' "$password" "$1"
}

postgres_bin() {
  local newest
  newest=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -1)
  if [ -n "${OPENORDER_DEV_POSTGRES_BIN:-}" ]; then printf '%s' "$OPENORDER_DEV_POSTGRES_BIN"
  elif [ -x "$newest/initdb" ]; then printf '%s' "$newest"
  elif have initdb; then dirname "$(command -v initdb)"
  else return 1; fi
}
# psql, of the same package.
postgres_client() { printf '%s/psql' "$(postgres_bin)"; }
postgres_packages() { [ -n "$(postgres_bin)" ] || echo postgresql; }
postgres_need_ports() { need_port "$postgres_port" OPENORDER_POSTGRES_PORT postgres; }

# After kill -9 the old server's children, or its zombie, may need a moment to be gone; they hold the shared memory.
postgres_wait_for_leftovers() {
  local i pid entry busy
  for ((i = 0; i < 100; i++)); do
    busy=''
    pid=$(as_user postgres head -1 "$data/postgres/db/postmaster.pid" 2>/dev/null || true)
    if [ -n "$pid" ] && [ -d "/proc/$pid" ] && [ ! -s "/proc/$pid/exe" ]; then busy=1; fi
    for entry in /proc/[0-9]*/cwd; do
      if [ "$(readlink "$entry" 2>/dev/null)" = "$data/postgres/db" ]; then busy=1; fi
    done
    [ -n "$busy" ] || return 0
    sleep 0.1
  done
}

postgres_make_database() {
  local home=$data/postgres user=$1 bin=$2
  rm -rf "$home/db.new"
  mkdir -m 700 "$home/db.new"
  [ "$(id -u)" != 0 ] || chown "$user:" "$home/db.new"
  as_user "$user" "$bin/initdb" -D "$home/db.new" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync \
    >"$home/initdb.log" 2>&1 || { cat "$home/initdb.log" >&2; return 1; }
  as_user "$user" tee -a "$home/db.new/postgresql.conf" >/dev/null <<<"include 'openorder.conf'"
  mv "$home/db.new" "$home/db"
}

# Sets the superuser's password, by the server itself in its single-user mode: nobody can connect before it is set.
postgres_set_password() {
  local home=$data/postgres user=$1 bin=$2 password
  password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
  as_user "$user" "$bin/postgres" --single -D "$home/db" postgres >"$home/password.log" 2>&1 \
    <<<"alter role postgres password '$password'" || { cat "$home/password.log" >&2; return 1; }
  if grep -q 'ERROR:' "$home/password.log"; then cat "$home/password.log" >&2; return 1; fi
  (umask 077 && printf '%s\n' "$password" >"$home/password.new")
  mv "$home/password.new" "$(postgres_password_file)"
}

postgres_launch() {
  local home=$data/postgres bin user=postgres
  bin=$(postgres_bin)
  if ! as_user "$user" test -x "$home"; then
    say "postgres: the user $user cannot reach $home; choose a folder that it can enter with OPENORDER_DATA_DIR"
    return 1
  fi
  [ -f "$home/db/PG_VERSION" ] || postgres_make_database "$user" "$bin" || return 1
  as_user "$user" tee "$home/db/openorder.conf" >/dev/null <"$dev/postgres/postgresql.conf"
  as_user "$user" tee "$home/db/pg_hba.conf" >/dev/null <"$dev/postgres/pg_hba.conf"
  postgres_wait_for_leftovers
  [ -f "$(postgres_password_file)" ] || postgres_set_password "$user" "$bin" || return 1
  # Not through as_user: its subshell would hide the server's own pid.
  local change_user=()
  [ "$(id -u)" != 0 ] || change_user=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --init-groups --)
  cd /
  # A batch has 100 KiB of parameters and more: memory given back after each one would be faulted in again.
  launch "$home/pid" "$home/server.log" env MALLOC_TRIM_THRESHOLD_=67108864 MALLOC_MMAP_THRESHOLD_=67108864 "${change_user[@]}" "$bin/postgres" -D "$home/db" -p "$postgres_port"
}

postgres_ready() { grep -q 'database system is ready to accept' "$data/postgres/server.log" 2>/dev/null; }
postgres_answers() { port_open 127.0.0.1 "$1"; }
