# shellcheck shell=bash disable=SC2154,SC2034
# Apache Kafka, one KRaft node. Its jars come from Maven's registry; nothing is compiled.

kafka_port=${OPENORDER_KAFKA_PORT:-19092}
kafka_controller_port=${OPENORDER_KAFKA_CONTROLLER_PORT:-$((kafka_port + 1))}
kafka_variable=OPENORDER_KAFKA_BROKERS
kafka_default_port=9092
kafka_stop_signal=TERM
kafka_start_seconds=60
kafka_marker() { printf 'kafka.Kafka %s/kafka/server.properties' "$data"; }
kafka_address() { printf '127.0.0.1:%s' "$1"; }

kafka_packages() {
  have java || echo default-jre-headless
  have mvn || [ -d "$(kafka_jars_folder)" ] || echo maven
}

kafka_need_ports() {
  need_port "$kafka_port" OPENORDER_KAFKA_PORT kafka &&
    need_port "$kafka_controller_port" OPENORDER_KAFKA_CONTROLLER_PORT 'kafka (controller)'
}

kafka_jars_folder() { printf '%s/kafka-%s' "$cache" "$(sha256sum <"$dev/kafka/pom.xml" | cut -c1-16)"; }
kafka_fetch_jars() {
  say "kafka: fetching its jars (44 MiB, once)"
  mvn -B -q -Dstyle.color=never -f "$dev/kafka/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$1"
}

# The parallel collector and both compilers: a broker under load costs a third less than with the simple ones.
kafka_java() {
  local options
  read -ra options <<<"${OPENORDER_DEV_KAFKA_JVM:--Xms512m -Xmx1g -XX:+UseParallelGC}"
  "$@" java "${options[@]}" "-Dlog4j2.configurationFile=$dev/kafka/log4j2.properties" -cp "$kafka_jars/*" \
    "${kafka_main[@]}"
}

kafka_launch() {
  local home=$data/kafka version
  version=$(java -version 2>&1 | sed -nE 's/.* version "([0-9]+).*/\1/p' | head -1)
  if [ "${version:-0}" -lt 17 ]; then say "kafka: needs Java 17 or later; this one is ${version:-unknown}"; return 1; fi
  kafka_jars=$(cached kafka "$dev/kafka/pom.xml" -- kafka_fetch_jars) || return 1
  sed -e "s#@DATA@#$home#g; s#@PORT@#$kafka_port#g; s#@CONTROLLER_PORT@#$kafka_controller_port#g" \
    "$dev/kafka/server.properties.in" >"$home/server.properties"
  if [ ! -f "$home/log/meta.properties" ]; then
    kafka_main=(kafka.tools.StorageTool format --standalone -t ZGV2LWthZmthLWRldi1rYQ -c "$home/server.properties")
    kafka_java env >"$home/format.log" 2>&1 || { cat "$home/format.log" >&2; return 1; }
  fi
  kafka_main=(kafka.Kafka "$home/server.properties")
  kafka_java launch "$home/pid" "$home/server.log"
}

kafka_ready() { grep -q 'Kafka Server started' "$data/kafka/server.log" 2>/dev/null; }
kafka_answers() { port_open 127.0.0.1 "$1"; }
