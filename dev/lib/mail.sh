# shellcheck shell=bash disable=SC2154,SC2034
# MailDev: takes mail for anybody, delivers none, and shows it on a page. From npm's registry, as it is published.

mail_port=${OPENORDER_SMTP_PORT:-11025} # what clients send to
mail_page_port=${OPENORDER_MAIL_PORT:-18025}
mail_variable=OPENORDER_SMTP_URL
mail_default_port=25
mail_stop_signal=TERM
mail_start_seconds=30
mail_marker() { printf -- '--mail-directory %s/mail/messages' "$data"; }
mail_address() { printf 'smtp://127.0.0.1:%s' "$1"; }
mail_packages() { :; }

mail_need_ports() {
  need_port "$mail_port" OPENORDER_SMTP_PORT 'mail (SMTP)' &&
    need_port "$mail_page_port" OPENORDER_MAIL_PORT 'mail (page)'
}

mail_inputs=("$dev/mail/package.json" "$dev/mail/package-lock.json")
mail_can_run() { have node && have npm; }
# Not `npm ci`: see buf.
mail_install() {
  say "mail: fetching MailDev (once)"
  cp "${mail_inputs[@]}" "$1/" && npm install --prefix "$1" --ignore-scripts --no-audit --no-fund --loglevel=error
}
# Prints the path of the program; fetches it when it is not there yet.
mail_program() {
  local folder
  mail_can_run || { say "mail: needs Node.js 18 or later with npm"; return 1; }
  folder=$(cached maildev "${mail_inputs[@]}" -- mail_install) && printf '%s/node_modules/maildev/bin/maildev' "$folder"
}

mail_launch() {
  local home=$data/mail program
  program=$(mail_program) || return 1
  # Mail of an earlier run is forgotten: a page that grows for ever shows nothing.
  rm -rf "$home/messages"
  mkdir -p "$home/messages"
  printf '%s\n' "$mail_page_port" >"$home/page.port"
  launch "$home/pid" "$home/server.log" node "$program" --ip 127.0.0.1 --smtp "$mail_port" \
    --web-ip 127.0.0.1 --web "$mail_page_port" --mail-directory "$home/messages"
}

mail_ready() { port_open 127.0.0.1 "$(cat "$data/mail/page.port")"; }
mail_answers() { port_open 127.0.0.1 "$1"; }
