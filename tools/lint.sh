# Sourced by ./dev: the checks that need no running program.

lint_files() {
  git ls-files --cached --others --exclude-standard -- '*.h' '*.cc' | while read -r file; do
    [[ -f $file ]] && printf '%s\n' "$file"
  done
}

command_format() {
  setup lint
  lint_files | xargs -r clang-format-14 -i
}

# command_lint [--fast]: without clang-tidy it takes seconds.
command_lint() {
  local failed=() fast=${1:-}
  setup lint
  say "format"
  lint_files | xargs -r clang-format-14 --dry-run -Werror || failed+=(format)
  say "style"
  lint_files | xargs -r python3 tools/check_style.py || failed+=(style)
  say "self-contained headers"
  build dev all_verify_interface_header_sets || failed+=(headers)
  if [[ $fast != --fast ]]; then
    say "clang-tidy"
    lint_files | { grep -E '^(src|adapters)/.*\.cc$' || true; } |
      xargs -r -n 1 -P "$JOBS" clang-tidy-14 --quiet -p build/dev \
        2> >(grep -vE ' warnings?.* generated\.$' >&2) || failed+=(clang-tidy)
  fi
  if ((${#failed[@]})); then
    die "lint failed: ${failed[*]}"
  fi
  say "lint passed"
}
