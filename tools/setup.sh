# Sourced by ./dev: installs the Debian packages that are missing. Asks dpkg once, so that it costs
# nothing when all is there.

ONCE_PACKAGES=(
  build-essential cmake ninja-build ccache pkg-config git python3 sqlite3
  libabsl-dev libxxhash-dev libssl-dev libboost-context-dev libgtest-dev libgmock-dev
  libsqlite3-dev librocksdb-dev libpq-dev libhiredis-dev librdkafka-dev libcli11-dev
  nlohmann-json3-dev libtcmalloc-minimal4 postgresql-15 redis-server openssl)
ONCE_LINT_PACKAGES=(clang-14 clang-tidy-14 clang-format-14)
# The second holds libFuzzer and the sanitizers' runtimes.
ONCE_FUZZ_PACKAGES=(clang-14 libclang-rt-14-dev)

# missing_packages <package...>: prints those that are not installed, on one line.
missing_packages() {
  local -A installed=()
  local name status
  while read -r name status; do
    [[ $status == installed ]] && installed[$name]=1
  done < <(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null)
  local missing=()
  for name in "$@"; do
    [[ ${installed[$name]:-} ]] || missing+=("$name")
  done
  printf '%s' "${missing[*]}"
}

# The root's part of an installation. No package shall start a server, now (invoke-rc.d asks the
# policy, which is ours only where the machine has none) or at the next start of the machine
# (postgresql-common makes no cluster). What the machine had before stays.
ONCE_INSTALL='
policy=/usr/sbin/policy-rc.d
clusters=/etc/postgresql-common/createcluster.conf
if [ ! -e "$policy" ]; then
  trap "rm -f $policy" EXIT
  trap "exit 1" HUP INT TERM
  printf "#!/bin/sh\nexit 101\n" >"$policy"
  chmod 755 "$policy"
fi
if [ ! -e "$clusters" ]; then
  mkdir -p "${clusters%/*}"
  echo "create_main_cluster = false" >"$clusters"
fi
"$@"
'

# setup [lint|fuzz|librdkafka]: each adds what it alone needs. A JDK, Maven or cargo that is on PATH
# counts as installed.
setup() {
  if [[ ${ONCE_SKIP_SETUP:-} ]]; then
    return 0
  fi
  local wanted=("${ONCE_PACKAGES[@]}")
  command -v java >/dev/null || wanted+=(openjdk-17-jdk-headless)
  command -v mvn >/dev/null || wanted+=(maven)
  if [[ ${1:-} == lint ]]; then
    wanted+=("${ONCE_LINT_PACKAGES[@]}")
  elif [[ ${1:-} == fuzz ]]; then
    wanted+=("${ONCE_FUZZ_PACKAGES[@]}")
  elif [[ ${1:-} == librdkafka ]]; then
    # curl's header is included even where it is not used (WITH_CURL=OFF).
    wanted+=(zlib1g-dev libcurl4-openssl-dev)
    command -v cargo >/dev/null || wanted+=(cargo)
  fi
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    die "setup knows Debian's packages only. Install what these names stand for, then set" \
        "ONCE_SKIP_SETUP=1: ${wanted[*]}"
  fi
  local missing
  missing=$(missing_packages "${wanted[@]}")
  if [[ -z $missing ]]; then
    return 0
  fi
  local as_root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null ||
      die "these packages are missing, and you are neither root nor have sudo: $missing"
    as_root=(sudo)
  fi
  as_root+=(env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1)
  local install=(sh -c "$ONCE_INSTALL" install
    apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300
    -o Dpkg::Options::=--force-confold)
  say "installing: $missing"
  # The lists may be old or absent: refresh them only when the first try fails.
  # shellcheck disable=SC2086
  if ! "${as_root[@]}" "${install[@]}" $missing >&2; then
    "${as_root[@]}" apt-get update -q >&2 || die "apt-get update failed"
    "${as_root[@]}" "${install[@]}" $missing >&2 ||
      die "apt-get could not install: $missing"
  fi
  # What was missing may decide what is built: configure again.
  rm -f build/*/build.ninja
}
