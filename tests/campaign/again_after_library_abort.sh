#!/usr/bin/env bash
# again_after_library_abort.sh PROGRAM [argument...]: runs an attack, and begins it again with the
# next seed where the process was ended by the assertion of Debian's RocksDB that its README here
# tells of (adapters/rocksdb): a death of the library's, of which the attack says nothing. At most
# three times; every other failure is the attack's.
set -uo pipefail

readonly assertion='sync_without_flush_called_'
readonly aborted=134 # 128 + SIGABRT

errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
for seed in 1 2 3 4; do
  code=0
  "$@" --seed "$seed" 2>"$errors" || code=$?
  cat "$errors" >&2
  if [[ $code != "$aborted" ]] || ! grep -q "$assertion" "$errors"; then break; fi
  echo "RocksDB's own assertion ended the attack with seed $seed" >&2
done
exit "$code"
