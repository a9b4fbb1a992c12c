# Sourced by ./dev: a real Apache Kafka broker for the tests, one KRaft node from Maven artifacts.
#
# The jars live in the cache folder. A broker's state folder holds `pid`, `bootstrap` (its address),
# `server.properties`, `log` and its data. A broker is stopped by the pid it was started with, and
# only while that process still names its state folder on its command line.

KAFKA_CACHE=${ONCE_CACHE:-${XDG_CACHE_HOME:-${HOME:-$PWD}/.cache}/once}/kafka
KAFKA_START_SECONDS=60
KAFKA_STOP_SECONDS=15

kafka_need() {
  command -v "$1" >/dev/null || die "the test broker needs $2; ./dev setup installs it"
}

# kafka_jars: prints the folder of jars; fetches them at the first call for this pom.
kafka_jars() {
  local version jars attempt
  version=$(cksum <tools/kafka/pom.xml | cut -d' ' -f1)
  jars=$KAFKA_CACHE/jars-$version
  if [[ ! -d $jars ]]; then
    kafka_need mvn Maven
    mkdir -p "$KAFKA_CACHE"
    local partial
    partial=$(mktemp -d "$KAFKA_CACHE/partial.XXXXXX")
    say "fetching the Kafka broker (44 MB, once)"
    for attempt in 1 2 3; do
      if mvn -q -B -Dstyle.color=never -f tools/kafka/pom.xml dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$partial" >&2; then
        chmod 755 "$partial"
        # Whoever is first wins: another run may have fetched the same jars meanwhile.
        mv -T "$partial" "$jars" 2>/dev/null || rm -rf "$partial"
        break
      fi
      say "attempt $attempt of 3 failed"
      sleep "$attempt"
    done
  fi
  if [[ ! -d $jars ]]; then
    rm -rf "$partial"
    die "the Kafka broker could not be fetched with Maven"
  fi
  printf '%s' "$jars"
}

# kafka_write_properties <state folder> <client port> <controller port>
kafka_write_properties() {
  cat >"$1/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$3
listeners=CLIENTS://127.0.0.1:$2,CONTROLLER://127.0.0.1:$3
advertised.listeners=CLIENTS://127.0.0.1:$2
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENTS
controller.listener.names=CONTROLLER
log.dirs=$1/data
# Tests create the topics they use: a typo in a name must not create one.
auto.create.topics.enable=false
# One node.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Few internal partitions: the first group and the first transaction are ready sooner.
offsets.topic.num.partitions=3
transaction.state.log.num.partitions=3
share.coordinator.state.topic.num.partitions=1
# Quick joins and quick failover.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=100
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
# Small.
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=2
PROPERTIES
}

kafka_two_free_ports() {
  python3 -c '
import socket
sockets = [socket.socket() for _ in range(2)]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))'
}

# kafka_is_running <state folder>
kafka_is_running() {
  local pid
  pid=$(cat "$1/pid" 2>/dev/null) || return 1
  [[ $pid ]] && tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qxF "$1/server.properties"
}

# kafka_start <state folder> [command prefix...]: returns when the broker serves.
kafka_start() {
  local state=$1 attempt jars
  shift
  kafka_need java 'a JDK (17 or newer)'
  jars=$(kafka_jars) || exit 1
  for attempt in 1 2 3; do
    if kafka_try_start "$state" "$jars" "$@"; then
      return 0
    fi
    # Another process took a port between our look and the broker's bind: look again.
    grep -q 'Address already in use' "$state/log" || break
  done
  tail -n 40 "$state/log" >&2 || true
  kafka_stop "$state"
  die "the Kafka broker did not start (attempt $attempt)"
}

# kafka_try_start <state folder> <jars> [command prefix...]
kafka_try_start() {
  local state=$1 jars=$2 ports client controller
  shift 2
  ports=$(kafka_two_free_ports)
  read -r client controller <<<"$ports"
  mkdir -p "$state"
  rm -rf "$state/data"
  kafka_write_properties "$state" "$client" "$controller"
  # The serial collector and the first compiler tier: a test broker lives for minutes.
  local java=(java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$jars/*"
    -Dorg.slf4j.simpleLogger.showDateTime=true
    # These two print every setting there is, over and over.
    -Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config.AbstractConfig=warn
    -Dorg.slf4j.simpleLogger.log.kafka.server.KafkaConfig=warn)
  local id
  # One that begins with a dash would be taken for a flag.
  id=$(python3 -c 'import base64, uuid
make = lambda: base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
print(next(id for id in iter(make, None) if not id.startswith("-")))')
  if ! "${java[@]}" kafka.tools.StorageTool format --cluster-id "$id" \
    --config "$state/server.properties" >"$state/log" 2>&1; then
    return 1
  fi
  # Its own session: Ctrl-C in this terminal reaches this script, which then stops the broker.
  setsid "$@" "${java[@]}" kafka.Kafka "$state/server.properties" \
    </dev/null >>"$state/log" 2>&1 9>&- &
  printf '%s' "$!" >"$state/pid"
  disown  # bash need not report how it ended
  local deadline=$((SECONDS + KAFKA_START_SECONDS))
  until grep -q 'Kafka Server started' "$state/log"; do
    if ((SECONDS > deadline)) || ! kill -0 "$(cat "$state/pid")" 2>/dev/null; then
      return 1
    fi
    sleep 0.1
  done
  printf '127.0.0.1:%s' "$client" >"$state/bootstrap"
}

# kafka_stop <state folder>: ends the broker and removes the folder. Its data is worth nothing, so
# it gets no time for a clean shutdown.
kafka_stop() {
  local state=$1 pid deadline
  if kafka_is_running "$state"; then
    pid=$(cat "$state/pid")
    kill -KILL "$pid" 2>/dev/null || true
    deadline=$((SECONDS + KAFKA_STOP_SECONDS))
    while kill -0 "$pid" 2>/dev/null && ((SECONDS < deadline)); do
      sleep 0.05
    done
  fi
  rm -rf "$state"
}

# kafka_for_tests: sets ONCE_TEST_KAFKA: the caller's broker, the one of `./dev kafka up`, or one
# that this process starts and stops. Without Java the tests that need it skip, except under CI.
kafka_for_tests() {
  local kept=$KAFKA_CACHE/up
  if [[ ${ONCE_TEST_KAFKA:-} ]]; then
    say "using the broker at $ONCE_TEST_KAFKA"
    return 0
  fi
  if kafka_is_running "$kept" && [[ -s $kept/bootstrap ]]; then
    ONCE_TEST_KAFKA=$(cat "$kept/bootstrap")
    export ONCE_TEST_KAFKA
    say "using the broker of ./dev kafka up at $ONCE_TEST_KAFKA"
    return 0
  fi
  if ! command -v java >/dev/null && [[ ${CI:-} != true ]]; then
    say "no Java: tests that need a broker will skip"
    return 0
  fi
  KAFKA_SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/once-kafka.XXXXXX")
  at_exit "kafka_stop '$KAFKA_SCRATCH'"
  say "starting a Kafka broker"
  # The kernel ends this broker with this script, even when the script is killed outright.
  kafka_start "$KAFKA_SCRATCH" setpriv --pdeathsig KILL
  ONCE_TEST_KAFKA=$(cat "$KAFKA_SCRATCH/bootstrap")
  export ONCE_TEST_KAFKA
}

# kafka_for_campaigns: sets ONCE_TEST_KAFKA_JARS: some attacks have brokers of their own. Without
# Java they skip.
kafka_for_campaigns() {
  if [[ ${ONCE_TEST_KAFKA_JARS:-} ]] || ! command -v java >/dev/null; then
    return 0
  fi
  ONCE_TEST_KAFKA_JARS=$(kafka_jars) || exit 1
  export ONCE_TEST_KAFKA_JARS
}

command_kafka() {
  local state=$KAFKA_CACHE/up
  mkdir -p "$KAFKA_CACHE"
  # One `up` or `down` at a time; the broker itself does not inherit the lock.
  exec 9>"$KAFKA_CACHE/lock"
  flock 9
  case ${1:-status} in
    up)
      if ! kafka_is_running "$state"; then
        setup
        rm -rf "$state"
        kafka_start "$state"
      fi
      cat "$state/bootstrap" && echo
      ;;
    down) kafka_stop "$state" ;;
    status)
      if kafka_is_running "$state"; then
        cat "$state/bootstrap" && echo
      else
        echo down
        return 1
      fi
      ;;
    *) die "./dev kafka up|down|status" ;;
  esac
}
