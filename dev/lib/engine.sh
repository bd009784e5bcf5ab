# shellcheck shell=bash disable=SC2154,SC2034
# A container engine for dev/compose-test: the user's own where one answers, else one of ours in a network namespace of
# its own, which no port, bridge or rule of the machine is touched by. Ours reaches no registry: it runs stand-in images.

engine_is_ours=''
engine_home=''
compose_program=()

# engine_find HOME: uses the engine that answers, or starts one with its data below HOME.
engine_find() {
  engine_home=$1
  if have docker && docker info >/dev/null 2>&1; then
    say "engine: $(docker version --format '{{.Server.Version}}'), with the images of docker-compose.yml"
  else
    engine_start || return 1
  fi
  if [ -z "$engine_is_ours" ] && docker compose version >/dev/null 2>&1; then compose_program=(docker compose)
  else compose_program=("$(tool_path docker-compose)") || return 1; fi
}

engine_start() {
  local i
  [ "$(id -u)" = 0 ] || { say "no Docker engine answers, and only root can start one"; return 1; }
  local missing=()
  have dockerd || missing+=(docker.io)
  have debootstrap || missing+=(debootstrap)
  if [ ${#missing[@]} -gt 0 ]; then need_packages "${missing[@]}"; fi
  mkdir -p "$engine_home"/{data,exec,config}
  export DOCKER_HOST=unix://$engine_home/docker.sock DOCKER_CONFIG=$engine_home/config
  engine_is_ours=1
  # shellcheck disable=SC2016 # expanded by the shell in the namespace
  launch "$engine_home/pid" "$engine_home/engine.log" unshare --net -- sh -c '
    ip link set lo up && echo 1 >/proc/sys/net/ipv4/ip_forward && exec dockerd --data-root "$1/data" --exec-root "$1/exec" \
      --pidfile "$1/dockerd.pid" --host "unix://$1/docker.sock" --storage-driver overlay2 --oom-score-adjust 0 \
      --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent openorder-compose-test' sh "$engine_home"
  for ((i = 0; i < 900; i++)); do
    if docker info >/dev/null 2>&1; then
      say "engine: none answered; one of our own is started ($(docker version --format '{{.Server.Version}}'), no registry)"
      return 0
    fi
    ((i < 20)) || process_is "$(<"$engine_home/pid")" "$engine_home/docker.sock" || break
    sleep 0.2
  done
  say "the engine did not start; the end of its log:"
  tail -15 "$engine_home/engine.log" >&2
  return 1
}

# Stops our engine, and undoes what it mounted below its folder.
engine_stop() {
  local pid point
  [ -n "$engine_is_ours" ] || return 0
  if pid=$(find_process "$engine_home/pid" "$engine_home/docker.sock"); then
    end_process "$pid" "$engine_home/docker.sock" TERM 60
  fi
  while read -r point; do umount --lazy "$point" 2>/dev/null || true; done \
    < <(cut -d' ' -f2 /proc/self/mounts | grep -F "$engine_home/" | sort -r)
}

# Runs a command where the published ports are.
where_ports_are() {
  if [ -n "$engine_is_ours" ]; then nsenter --net="/proc/$(<"$engine_home/pid")/ns/net" "$@"; else "$@"; fi
}

# --- stand-ins ----------------------------------------------------------------------------------

stand_ins=$dev/compose/stand-ins
stand_in_root() {
  local words=()
  mapfile -t words < <(grep -v '^#' "$dev/compose/packages")
  say "stand-ins: installing Debian ${words[0]} into a folder (some minutes, once)"
  debootstrap --variant=minbase --include="$(IFS=,; printf '%s' "${words[*]:1}")" "${words[0]}" "$1" >"$1.log" 2>&1 ||
    { tail -5 "$1.log" >&2; return 1; }
  rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/* "$1.log"
}

# stand_in NAME TAG [SOURCE AS]: builds stand-ins/NAME, with SOURCE in its context under the name AS.
stand_in() {
  local context=$engine_home/context
  rm -rf "$context"
  cp -r "$stand_ins/$1" "$context"
  if [ $# -gt 2 ]; then cp -rL "$3" "$context/$4"; fi
  if [ "$1" = kafka ]; then cp "$dev/kafka/log4j2.properties" "$context/"; fi
  # Containers run as users of their own, and may not read what is ours alone.
  chmod -R a+rX "$context"
  DOCKER_BUILDKIT=0 docker build --quiet --tag "$2" "$context" >/dev/null 2>"$engine_home/build.log" || { cat "$engine_home/build.log" >&2; return 1; }
}

# image_of SERVICE: the name that docker-compose.yml gives its image.
image_of() { sed -nE "/^  $1:/,/^  [a-z]/s/^    image: *//p" "$repository/docker-compose.yml"; }

# stand_ins_build PROGRAM: all images of docker-compose.yml, out of this machine's packages and PROGRAM.
stand_ins_build() {
  local root jars page_folder
  root=$(cached compose-root "$dev/compose/packages" -- stand_in_root) || return 1
  say "stand-ins: building the images"
  tar -C "$root" -c --exclude=./proc --exclude=./sys . | docker import - openorder-stand-in/base >/dev/null
  jars=$(cached kafka "$dev/kafka/pom.xml" -- kafka_fetch_jars) || return 1
  page_folder=$(mail_program) || return 1
  strip -o "$engine_home/openorder" "$1"
  stand_in postgres "$(image_of postgres)" && stand_in redis "$(image_of redis)" &&
    stand_in kafka "$(image_of kafka)" "$jars" libs &&
    stand_in mail "$(image_of mail)" "${page_folder%/maildev/bin/maildev}" node_modules &&
    stand_in jaeger "$(image_of jaeger)" "$(jaeger_program)" jaeger &&
    docker tag "$(image_of jaeger)" "$(image_of otel-collector)" &&
    stand_in prometheus "$(image_of prometheus)" && stand_in openorder openorder:local "$engine_home/openorder" openorder || return 1
  rm -rf "$engine_home/context" "$engine_home/openorder"
}
