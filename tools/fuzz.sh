# Sourced by ./dev: libFuzzer over the targets of tests/fuzz.
#
# What a target has learnt stays in build/fuzz/corpus/<target> and is where the next run begins;
# what it finds is left in build/fuzz/findings/<target>.

fuzz_targets() {
  sed -n 's/^ *once_fuzz_target(\([a-z_]*\) .*/\1/p' tests/fuzz/CMakeLists.txt
}

# fuzz_one <target> <seconds>: prints one line; 1 and the whole log when something was found.
fuzz_one() {
  local target=$1 seconds=$2
  local corpus=build/fuzz/corpus/$target findings=build/fuzz/findings/$target
  local log=build/fuzz/$target.log scratch=/dev/shm code=0
  [[ -w $scratch ]] || scratch=${TMPDIR:-/tmp}
  scratch=$(mktemp -d "$scratch/once-fuzz.XXXXXX")
  local known=(tests/fuzz/regressions/"$target")
  [[ -d ${known[0]} ]] || known=()
  mkdir -p "$corpus" "$findings"
  # Stores are made and damaged thousands of times: no disk needs to hear of it.
  export TMPDIR=$scratch
  # Freed memory is kept from use for a while; more of it than that costs more than it finds.
  export ASAN_OPTIONS=quarantine_size_mb=16:malloc_context_size=8${ASAN_OPTIONS:+:$ASAN_OPTIONS}
  build/fuzz/bin/"fuzz_$target" --seeds="$corpus" &&
    build/fuzz/bin/"fuzz_$target" "$corpus" "${known[@]}" \
      -artifact_prefix="$findings/" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=2048 \
      -entropic=0 -print_final_stats=1 >"$log" 2>&1 || code=$?
  rm -rf "$scratch"
  local runs rate edges
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
  edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
  if ((code != 0)); then
    cat "$log" >&2
    say "fuzz $target: FAILED; the input is in $findings. Mend what it shows and keep it as" \
      "tests/fuzz/regressions/$target/<what-it-was>"
    return 1
  fi
  printf '%-16s %9s runs  %6s/s  %5s edges  nothing found\n' \
    "$target" "$runs" "$rate" "$edges"
}

# command_fuzz TARGET|--all [--seconds N]: as many targets at a time as there are compilers.
command_fuzz() {
  local known chosen=() seconds=60 word
  known=$(fuzz_targets)
  while (($#)); do
    word=$1
    shift
    case $word in
      --all) mapfile -t chosen <<<"$known" ;;
      --seconds)
        [[ ${1:-} =~ ^[1-9][0-9]*$ ]] || die "--seconds needs a number"
        seconds=$1
        shift
        ;;
      *)
        grep -qx -- "$word" <<<"$known" || die "there is no fuzz target '$word'; there are:" $known
        chosen+=("$word")
        ;;
    esac
  done
  ((${#chosen[@]})) || die "./dev fuzz TARGET|--all [--seconds N], where TARGET is one of:" $known
  setup fuzz
  build fuzz once_fuzz
  local target failed=0
  for target in "${chosen[@]}"; do
    while (($(jobs -rp | wc -l) >= JOBS)); do
      wait -n || failed=1
    done
    fuzz_one "$target" "$seconds" &
  done
  while (($(jobs -p | wc -l))); do
    wait -n || failed=1
  done
  ((failed == 0)) || die "fuzz: something was found"
}
