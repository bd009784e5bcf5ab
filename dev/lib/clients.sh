# shellcheck shell=bash disable=SC2154
# The clients in other languages: each folder of clients/ has a program `run` with the same four commands.

client_languages() { (cd "$repository/clients" && printf '%s\n' */ | tr -d /); }

# client_run LANGUAGE COMMAND: 3 means that the language is not installed here; then `run` has said so.
client_run() {
  local rc=0
  (unset "${!OPENORDER_@}" && timeout -k 30 900 "$repository/clients/$1/run" "$2") || rc=$?
  if [ $rc = 3 ] && [ -n "${CI:-}" ]; then say "clients: $1: nothing may be left out here"; return 1; fi
  return $rc
}

# Writes the generated code of all clients anew.
clients_generate() {
  local language rc=0
  for language in $(client_languages); do
    client_run "$language" generate || [ $? = 3 ] || { say "clients: $language: not generated"; rc=1; }
  done
  return $rc
}

# What a folder holds, but for what git ignores.
client_content() {
  (cd "$repository/clients/$1" && git ls-files -co --exclude-standard -z | sort -z | xargs -0 sha256sum -- 2>/dev/null)
}

# Generated code is what the contract makes; then types, lints and the tests that need no system.
client_check() {
  local before rc=0
  before=$(client_content "$1")
  client_run "$1" generate || return $?
  if [ "$(client_content "$1")" != "$before" ]; then
    say "clients: $1: its generated code is not that of proto/. It is now: look at it and commit it (make clients)"
    rc=1
  fi
  client_run "$1" check || rc=$?
  return $rc
}
