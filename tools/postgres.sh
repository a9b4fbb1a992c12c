# Sourced by ./dev: a real PostgreSQL server for the tests, reached by a unix socket only.
#
# A state folder holds `template` (a cluster that was never started; tests that treat a server badly
# copy it for servers of their own), `data`, the socket and `log`. The server is stopped by the pid
# it was started with, and only while that process still names its state folder.

POSTGRES_START_SECONDS=30

# postgres_programs: prints the folder of the newest server's programs; fails where there is none.
postgres_programs() {
  local folder
  folder=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
  if [[ ! -x $folder/initdb ]]; then
    folder=$(dirname "$(command -v initdb || true)")
  fi
  [[ -x $folder/initdb && -x $folder/postgres ]] && printf '%s' "$folder"
}

# postgres_as_user <command>...: the server refuses to be root's, and goes with this script even when
# that is killed outright.
postgres_as_user() {
  local as_user=(setpriv --pdeathsig KILL)
  if ((EUID == 0)); then
    as_user+=(--reuid postgres --regid postgres --init-groups)
  fi
  exec "${as_user[@]}" "$@"
}

# postgres_make_template <state folder> <programs>
postgres_make_template() {
  local state=$1 programs=$2
  chmod 700 "$state"
  if ((EUID == 0)); then
    chown postgres "$state"
  fi
  # In the C locale: the same everywhere.
  (postgres_as_user "$programs/initdb" --pgdata="$state/template" --username=once --auth=trust \
    --encoding=UTF8 --locale=C --no-sync) >"$state/log" 2>&1
}

# postgres_start <state folder> <programs>: returns when the server serves.
postgres_start() {
  local state=$1 programs=$2
  postgres_make_template "$state" "$programs" || return 1
  cp -a "$state/template" "$state/data"
  # Many small tests at once, on small machines. Durable, since that is what is tested.
  postgres_as_user "$programs/postgres" -D "$state/data" -k "$state" -c listen_addresses= \
    -c unix_socket_permissions=0700 \
    -c max_connections=300 -c shared_buffers=32MB -c log_min_messages=fatal \
    -c log_min_error_statement=panic </dev/null >>"$state/log" 2>&1 &
  printf '%s' "$!" >"$state/pid"
  disown
  local deadline=$((SECONDS + POSTGRES_START_SECONDS))
  until "$programs/pg_isready" -q -h "$state" -d postgres; do
    if ((SECONDS > deadline)) || ! kill -0 "$(cat "$state/pid")" 2>/dev/null; then
      return 1
    fi
    sleep 0.05
  done
}

# postgres_stop <state folder>: its data is worth nothing, so it gets no time for a clean shutdown.
postgres_stop() {
  local state=$1 pid deadline
  pid=$(cat "$state/pid" 2>/dev/null) || pid=
  if [[ $pid ]] && tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qxF "$state/data"; then
    kill -QUIT "$pid" 2>/dev/null || true
    deadline=$((SECONDS + 10))
    while kill -0 "$pid" 2>/dev/null && ((SECONDS < deadline)); do
      sleep 0.05
    done
  fi
  rm -rf "$state"
}

postgres_scratch() {
  POSTGRES_SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/once-postgres.XXXXXX")
  at_exit "postgres_stop '$POSTGRES_SCRATCH'"
}

postgres_failed() {
  tail -n 40 "$POSTGRES_SCRATCH/log" >&2 || true
  die "the PostgreSQL server did not start"
}

postgres_export() {
  export ONCE_TEST_POSTGRES_PROGRAMS=$1
  export ONCE_TEST_POSTGRES_TEMPLATE=$POSTGRES_SCRATCH/template
}

# postgres_for_tests: sets ONCE_TEST_POSTGRES (a connection string: the caller's, or that of a server
# which this process starts and stops), and ONCE_TEST_POSTGRES_PROGRAMS and _TEMPLATE for tests that
# start their own. Without a server's programs the tests skip, except under CI.
postgres_for_tests() {
  local programs
  if [[ ${ONCE_TEST_POSTGRES:-} ]]; then
    say "using the PostgreSQL server that ONCE_TEST_POSTGRES names"
    if [[ ! ${ONCE_TEST_POSTGRES_TEMPLATE:-} ]] && programs=$(postgres_programs); then
      postgres_scratch
      postgres_make_template "$POSTGRES_SCRATCH" "$programs" || postgres_failed
      postgres_export "$programs"
    fi
    return 0
  fi
  if ! programs=$(postgres_programs); then
    [[ ${CI:-} != true ]] || die "the tests need a PostgreSQL server; ./dev setup installs it"
    say "no PostgreSQL server: tests that need one will skip"
    return 0
  fi
  postgres_scratch
  say "starting a PostgreSQL server"
  postgres_start "$POSTGRES_SCRATCH" "$programs" || postgres_failed
  export ONCE_TEST_POSTGRES="host=$POSTGRES_SCRATCH dbname=postgres user=once"
  postgres_export "$programs"
}

# postgres_for_campaigns: sets ONCE_TEST_POSTGRES_PROGRAMS and _TEMPLATE: each attack has a server of
# its own. Without a server's programs campaigns that need one skip.
postgres_for_campaigns() {
  local programs
  if [[ ${ONCE_TEST_POSTGRES_TEMPLATE:-} ]] || ! programs=$(postgres_programs); then
    return 0
  fi
  postgres_scratch
  postgres_make_template "$POSTGRES_SCRATCH" "$programs" || postgres_failed
  postgres_export "$programs"
}
