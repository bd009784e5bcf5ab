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

# The program that README.md shows of a language is a part of the one in the client's README, which its story runs: each of
# its lines stands there, whatever its indentation.
readme_shows() {
  local language=$1 fence=$2 line whole rc=0 count=0
  whole=$(sed -E 's/^[ \t]+//' "$repository/clients/$language/README.md")
  while IFS= read -r line; do
    case $line in '' | … | '}' | '})') continue ;; esac
    count=$((count + 1))
    if ! grep -qxF -- "$line" <<<"$whole"; then
      say "clients: README.md shows a line that clients/$language/README.md does not have: $line"
      rc=1
    fi
  done < <(sed -n "/^\`\`\`$fence\$/,/^\`\`\`\$/{/^\`\`\`/d;s/^[ \t]*//;p}" "$repository/README.md")
  if [ $count = 0 ]; then say "clients: README.md shows no order in $language"; rc=1; fi
  return $rc
}
