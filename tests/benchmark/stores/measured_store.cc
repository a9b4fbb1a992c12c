// Opening, filling and measuring.
#include "tests/benchmark/stores/measured_store.h"

#include <libpq-fe.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/time/clock.h"
#include "once/memory/store.h"
#include "once/postgres/store.h"
#include "once/rocksdb/store.h"
#include "once/sqlite/store.h"
#include "tests/benchmark/random_ids.h"

namespace once::benchmark {
namespace {

constexpr std::string_view kScope = "g7:billing/payments";
constexpr std::size_t kBatchOfFilling = 5000;
constexpr std::uint64_t kOneKnownIn = 20;
// A process that has used less than a twentieth of this span has nothing to do.
constexpr absl::Duration kIdleSpan = absl::Milliseconds(400);

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "once_bench_stores: %s\n", what.c_str());
  std::exit(1);
}

void Check(const absl::Status& status, const std::string& what) {
  if (!status.ok()) Fail(what + ": " + status.ToString());
}

double CpuSeconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

std::uint64_t ResidentBytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  long pages = 0;
  if (file == nullptr || std::fscanf(file, "%*s %ld", &pages) != 1) Fail("no /proc/self/statm");
  std::fclose(file);
  return static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

// Sealing and merging are over.
void WaitUntilIdle() {
  double before = CpuSeconds();
  for (;;) {
    absl::SleepFor(kIdleSpan);
    const double now = CpuSeconds();
    if (now - before < absl::ToDoubleSeconds(kIdleSpan) / 20) return;
    before = now;
  }
}

absl::StatusOr<std::shared_ptr<DedupStore>> OpenStore(const StorePlace& place,
                                                      const std::string& schema) {
  if (place.kind == "memory") return std::shared_ptr<DedupStore>(memory::OpenStore());
  if (place.kind == "sqlite") return sqlite::OpenStore({.path = place.folder + "/sqlite.db"});
  if (place.kind == "rocksdb") return rocksdb::OpenStore({.path = place.folder + "/rocksdb"});
  if (place.kind == "postgres") {
    return postgres::OpenStore({.connection = place.postgres, .schema = schema});
  }
  return absl::InvalidArgumentError("no store is called " + place.kind);
}

// The first column of the first row; empty where there is none.
std::string AskServer(const std::string& server, const std::string& sql) {
  PGconn* connection = PQconnectdb(server.c_str());
  PGresult* result = PQexec(connection, sql.c_str());
  const ExecStatusType status = PQresultStatus(result);
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
    Fail(sql + ": " + PQerrorMessage(connection));
  }
  std::string answer = PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "";
  PQclear(result);
  PQfinish(connection);
  return answer;
}

std::uint64_t BytesOfFolder(const std::string& folder) {
  std::uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    std::error_code gone;  // a file of RocksDB may be, meanwhile
    const std::uintmax_t size = entry.is_regular_file(gone) ? entry.file_size(gone) : 0;
    if (!gone) bytes += size;
  }
  return bytes;
}

}  // namespace

MeasuredStore::MeasuredStore(const StorePlace& place)
    : place_(place), schema_("once_bench_" + std::to_string(getpid())) {
  memory_before_ = ResidentBytes();
  auto store = OpenStore(place_, schema_);
  Check(store.status(), "opening " + place_.kind);
  store_ = *std::move(store);
}

MeasuredStore::~MeasuredStore() {
  store_.reset();
  if (place_.kind == "postgres") {
    AskServer(place_.postgres, "DROP SCHEMA " + schema_ + " CASCADE");
  }
}

void MeasuredStore::Apply(const std::vector<std::uint64_t>& numbers, std::uint64_t known_below,
                          Durability wanted) {
  std::vector<std::array<char, 16>> texts;
  std::vector<IdKey> keys;
  texts.reserve(numbers.size());
  for (const std::uint64_t number : numbers) {
    texts.push_back(IdOf(number));
    keys.push_back({.scope = kScope, .id = {texts.back().data(), texts.back().size()}});
  }
  std::vector<IdRecord> records(keys.size());
  auto begun = store_->transactions()->Begin({});
  Check(begun.status(), "begin");
  StoreTransaction& transaction = *begun->transaction;
  Check(transaction.FindIds(keys, records), "look up");
  std::vector<IdWrite> writes;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const bool is_known = numbers[i] < known_below;
    if (records[i] != (is_known ? RecordOf(numbers[i]) : IdRecord())) Fail("a wrong answer");
    if (!is_known) writes.push_back({.key = keys[i], .record = RecordOf(numbers[i])});
  }
  Check(transaction.PutIds(writes), "put");
  Check(transaction.Commit(wanted), "commit");
}

void MeasuredStore::FillTo(std::uint64_t ids) {
  std::vector<std::uint64_t> numbers;
  while (known_ < ids) {
    numbers.clear();
    for (std::size_t i = 0; i < kBatchOfFilling && known_ + i < ids; ++i) {
      numbers.push_back(known_ + i);
    }
    Apply(numbers, known_, Durability::kProcess);
    known_ += numbers.size();
  }
  WaitUntilIdle();
}

MeasuredStore::Measurement MeasuredStore::Measure(std::size_t batch, std::uint64_t ids,
                                                  std::uint64_t known_among) {
  Measurement measured;
  std::vector<std::uint64_t> numbers;
  for (; measured.ids < ids; measured.ids += batch) {
    numbers.clear();
    std::uint64_t fresh = 0;
    for (std::uint64_t i = measured.ids; i < measured.ids + batch; ++i) {
      const bool is_second_copy = i % kOneKnownIn == kOneKnownIn - 1;
      const std::uint64_t back = (i * 0x9E3779B97F4A7C15 >> 16) % std::min(known_, known_among);
      numbers.push_back(is_second_copy ? known_ - 1 - back : known_ + fresh++);
    }
    const absl::Time begun = absl::Now();
    const double cpu_begun = CpuSeconds();
    Apply(numbers, known_, Durability::kMachine);
    measured.cpu_seconds += CpuSeconds() - cpu_begun;
    measured.seconds += absl::ToDoubleSeconds(absl::Now() - begun);
    known_ += fresh;
  }
  return measured;
}

std::uint64_t MeasuredStore::DiskBytes() const {
  if (place_.kind == "memory") return 0;
  if (place_.kind != "postgres") return BytesOfFolder(place_.folder);
  return std::strtoull(
      AskServer(place_.postgres,
                "SELECT sum(pg_total_relation_size(oid))::int8 FROM pg_class WHERE relkind = 'r' "
                "AND relnamespace = '" +
                    schema_ + "'::regnamespace")
          .c_str(),
      nullptr, 10);
}

std::uint64_t MeasuredStore::MemoryBytes() const {
  return ResidentBytes() - std::min(ResidentBytes(), memory_before_);
}

}  // namespace once::benchmark
