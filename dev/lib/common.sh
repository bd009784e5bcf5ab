# shellcheck shell=bash disable=SC2034
# What all scripts under dev/ stand on: places, messages, ports, processes, locks, downloads.
# Sourced, never run. The caller has set -euo pipefail.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
dev=$repository/dev
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/openorder
data=${OPENORDER_DATA_DIR:-/var/tmp/openorder-$(id -u)}
started_at=${EPOCHREALTIME/[^0-9]/}

# --- messages -----------------------------------------------------------------------------------

# One progress line on stderr, with the seconds since the script began; stdout is for answers.
say() {
  local ms=$(((${EPOCHREALTIME/[^0-9]/} - started_at) / 1000))
  printf '[%3d.%d s] %s\n' $((ms / 1000)) $((ms % 1000 / 100)) "$*" >&2
}
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
# An address without its password.
masked() { sed -E 's#(://[^:/@]*):[^@/]*@#\1:***@#' <<<"$1"; }
without_password() { sed -E 's#(://[^:/@]*):[^@/]*@#\1@#' <<<"$1"; }

# --- places -------------------------------------------------------------------------------------

# The data folder carries a marker, so that `clean` never removes a folder that is somebody else's. What is in it (mail,
# messages, logs, the password) is for this user alone; root's lets the user postgres pass to its database.
make_data_dir() {
  # In /var/tmp anybody may have put a link there first.
  if [ -L "$data" ] && [ "$(stat -c %u -- "$data")" != "$(id -u)" ]; then
    die "$data is a link of another user; choose another folder with OPENORDER_DATA_DIR"
  fi
  if [ -e "$data" ] && [ ! -f "$data/.openorder" ] && [ -n "$(ls -A "$data" 2>/dev/null)" ]; then
    die "$data exists and is not a data folder of OpenOrder; choose another with OPENORDER_DATA_DIR"
  fi
  mkdir -p "$data" 2>/dev/null || die "cannot make $data; choose another folder with OPENORDER_DATA_DIR"
  [ -O "$data" ] || die "$data belongs to another user; choose another folder with OPENORDER_DATA_DIR"
  data=$(cd "$data" && pwd)
  if [ "$(id -u)" = 0 ]; then chmod 711 "$data"; else chmod 700 "$data"; fi
  : >>"$data/.openorder"
}

# cached NAME INPUTS -- COMMAND...: runs COMMAND with the name of an empty folder as its last argument, once for each
# content of INPUTS, and prints where the result is. Interrupted or failed, it leaves nothing behind.
cached() {
  local name=$1 inputs=() folder rc=0
  shift
  while [ "$1" != -- ]; do inputs+=("$1"); shift; done
  shift
  folder=$cache/$name-$(cat "${inputs[@]}" | sha256sum | cut -c1-16)
  if [ ! -d "$folder" ]; then
    mkdir -p "$cache"
    (
      # A second caller waits, then finds it done.
      flock --nonblock 8 || { say "another script is making $name: waiting for it"; flock 8; }
      if [ -d "$folder" ]; then exit 0; fi
      rm -rf "$folder.new"
      mkdir "$folder.new" && "$@" "$folder.new" 8>&- >&2 && mv "$folder.new" "$folder"
    ) 8>"$cache/$name.lock" || rc=$?
    if [ $rc != 0 ]; then rm -rf "$folder.new"; return $rc; fi
  fi
  printf '%s\n' "$folder"
}

# --- ports --------------------------------------------------------------------------------------

port_open() { (exec 7<>"/dev/tcp/$1/$2") 2>/dev/null; }

# Who listens on a local port, as far as this user may see it.
port_owner() {
  local owner=''
  if have ss; then
    owner=$(ss -Hltnp "sport = :$1" 2>/dev/null | sed -nE 's/.*\(\("([^"]+)",pid=([0-9]+).*/\1, pid \2/p' | head -1)
  elif have lsof; then
    owner=$(lsof -nP -iTCP:"$1" -sTCP:LISTEN 2>/dev/null | awk 'NR == 2 { print $1 ", pid " $2 }')
  fi
  printf '%s' "${owner:-a process of another user}"
}

# need_port PORT VARIABLE WHO: explains itself and fails when the port is taken.
need_port() {
  if port_open 127.0.0.1 "$1"; then
    say "$3: port $1 is taken by $(port_owner "$1"); stop it, or choose another port with $2"
    return 1
  fi
}

# --- processes ----------------------------------------------------------------------------------

# True when the process lives and its command line contains the text (arguments joined by spaces). A pid says nothing
# by itself: it may have been given to another program, and after kill -9 it may be a zombie, without a command line.
process_is() {
  if [ -z "$1" ] || [ -z "$2" ]; then return 1; fi
  [[ "$({ tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null)" == *"$2"* ]]
}

# Whether a process is this user's, or one that root started for the user postgres: anybody can have any command line.
process_is_ours() {
  [ -O "/proc/$1" ] || { [ "$(id -u)" = 0 ] && [ "$(stat -c %U "/proc/$1" 2>/dev/null)" = postgres ]; }
}

# find_process PIDFILE TEXT: prints the pid of our process. When the file is stale or was never written (a script
# killed between start and note) the process table is asked.
find_process() {
  local pid='' entry entries
  if [ -f "$1" ]; then read -r pid <"$1" || true; fi
  if process_is "$pid" "$2"; then printf '%s' "$pid"; return 0; fi
  mapfile -t entries < <(grep -slaF -- "$data/" /proc/[0-9]*/cmdline || true)
  for entry in "${entries[@]}"; do
    pid=${entry#/proc/} pid=${pid%/cmdline}
    if process_is "$pid" "$2" && process_is_ours "$pid"; then printf '%s\n' "$pid" >"$1"; printf '%s' "$pid"; return 0; fi
  done
  return 1
}

# end_process PID TEXT SIGNAL SECONDS: asks, waits, and in the end insists.
end_process() {
  local i
  kill -s "$3" "$1" 2>/dev/null || true
  for ((i = 0; i < $4 * 20; i++)); do
    process_is "$1" "$2" || return 0
    sleep 0.05
  done
  say "pid $1 did not end within $4 s: killed"
  kill -s KILL "$1" 2>/dev/null || true
}

# launch PIDFILE LOG COMMAND...: a background process in a session of its own, that holds none of our locks.
launch() {
  local pidfile=$1 log=$2
  shift 2
  if [ -f "$log" ]; then mv -f "$log" "$log.1"; fi
  # Nobody else reads what it writes, its log included.
  (umask 077 && : >"$log")
  (umask 077 && exec setsid "$@") </dev/null >"$log" 2>&1 7>&- 8>&- 9>&- &
  printf '%s\n' $! >"$pidfile"
}

# Runs a command as the given user when we are root; the working folder is one that every user can enter.
as_user() {
  local user=$1
  shift
  if [ "$(id -u)" = 0 ]; then
    (cd / && exec setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups -- "$@")
  else
    (cd / && exec "$@")
  fi
}

# --- packages -----------------------------------------------------------------------------------

# need_packages PACKAGE...: installs Debian packages as root; otherwise says what to do.
need_packages() {
  local log=$data/apt.log
  have apt-get || die "missing: $*. Install the like of these Debian packages with your system's package manager"
  [ "$(id -u)" = 0 ] || die "missing: run  sudo apt-get install -y --no-install-recommends $*"
  say "installing $* (apt)"
  # RUNLEVEL=1: the packages' own daemons are not started.
  (
    umask 022 # what packages install is for everybody
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    apt-get update -qq && apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "$@"
  ) </dev/null >"$log" 2>&1 || { tail -20 "$log" >&2; die "apt-get could not install $*; all it said is in $log"; }
}

# go_build MODULE PACKAGE... FOLDER: builds pinned Go programs into FOLDER.
go_build() {
  local module=$1 packages=("${@:2:$#-2}") folder=${*: -1}
  (cd "$module" && CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false -ldflags '-s -w' \
    -o "$folder/" "${packages[@]}")
}
