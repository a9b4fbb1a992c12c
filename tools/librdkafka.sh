# Sourced by ./dev: other versions of librdkafka than Debian's, for `./dev test --librdkafka`. The
# source is the one that a Rust crate carries: cargo fetches it by name and version, and its checksum
# is compared with the one below. Built once, without root, into the cache folder.

# librdkafka_crate <version>: crate version, checksum of the crate, and librdkafka's full version.
librdkafka_crate() {
  case $1 in
    2.12) echo "4.10.0 e234cf318915c1059d4921ef7f75616b5219b10b46e9f3a511a15eb4b56a3f77 2.12.1" ;;
    *) die "./dev test --librdkafka knows 2.12 only" ;;
  esac
}

# librdkafka_fetch <folder> <crate version> <checksum>: leaves the source in <folder>/vendor.
librdkafka_fetch() {
  local folder=$1 crate=$2 checksum=$3
  mkdir -p "$folder/src"
  : >"$folder/src/lib.rs"
  printf '%s\n' '[package]' 'name = "librdkafka-source"' 'version = "0.0.0"' '[dependencies]' \
    "rdkafka-sys = { version = \"=$crate\", default-features = false }" >"$folder/Cargo.toml"
  (cd "$folder" && cargo vendor --quiet vendor >/dev/null) >&2 ||
    die "cargo could not fetch the crate rdkafka-sys $crate"
  grep -q "\"package\":\"$checksum\"" "$folder/vendor/rdkafka-sys/.cargo-checksum.json" ||
    die "the crate rdkafka-sys $crate is another one than it was"
}

# librdkafka_build <source> <build folder> <prefix>: with what Debian's development packages of
# ./dev setup allow.
librdkafka_build() {
  cmake -S "$1" -B "$2" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$3" \
    -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_C_COMPILER_LAUNCHER=ccache \
    -DWITH_SSL=ON -DWITH_ZLIB=ON -DWITH_SASL=OFF -DWITH_CURL=OFF -DWITH_ZSTD=OFF \
    -DENABLE_LZ4_EXT=OFF -DRDKAFKA_BUILD_TESTS=OFF -DRDKAFKA_BUILD_EXAMPLES=OFF &&
    cmake --build "$2" -j "$JOBS" && cmake --install "$2"
}

# librdkafka_prefix <version>: prints where it is installed; fetches and builds it at the first call.
librdkafka_prefix() {
  local facts crate checksum full prefix partial
  facts=$(librdkafka_crate "$1") || exit 1
  read -r crate checksum full <<<"$facts"
  prefix=$KAFKA_CACHE/librdkafka-$full
  if [[ ! -d $prefix ]]; then
    command -v cargo >/dev/null || die "librdkafka $full needs cargo; ./dev setup installs it"
    mkdir -p "$KAFKA_CACHE"
    partial=$(mktemp -d "$KAFKA_CACHE/partial.XXXXXX")
    librdkafka_fetch "$partial" "$crate" "$checksum"
    say "building librdkafka $full (minutes, once)"
    # The prefix is where it will lie: its .pc file names it.
    if ! DESTDIR=$partial/root librdkafka_build "$partial/vendor/rdkafka-sys/librdkafka" \
      "$partial/build" "$prefix" >"$partial/log" 2>&1; then
      tail -n 40 "$partial/log" >&2
      rm -rf "$partial"
      die "librdkafka $full could not be built"
    fi
    # Whoever is first wins.
    mv -T "$partial/root$prefix" "$prefix" 2>/dev/null || true
    rm -rf "$partial"
  fi
  printf '%s' "$prefix"
}

# command_test_librdkafka <version> [ctest argument...]: everything that speaks to Kafka, linked with
# that librdkafka, in a build folder of its own.
command_test_librdkafka() {
  local version=$1 prefix
  shift
  setup librdkafka
  prefix=$(librdkafka_prefix "$version") || exit 1
  # CMake writes the library's folder into the programs, so nothing else need find it.
  export PKG_CONFIG_PATH=$prefix/lib/pkgconfig ONCE_TEST_LIBRDKAFKA=$version
  build librdkafka
  build/librdkafka/adapters/kafka/once_kafka_test --gtest_brief=1 --gtest_filter='ClientVersion.*'
  if (($# == 0)); then
    set -- -R '^(kafka|integration|example)\.'
  fi
  run_ctest librdkafka "$@"
}
