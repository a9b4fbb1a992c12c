// once_bench_ids: what it costs to remember ids of 16 bytes with fingerprints in memory, in the
// table that the memory store has and in the log that embedded stores have. Each contestant is a
// process of its own, so that memory is its own. Prints one JSON object to standard output:
//
//   once_bench_ids [--ids N]...     at so many ids, by default at 1 000 000 and at 10 000 000
//
// Speed is in ids per CPU second, so that other work on the machine matters little.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "src/memory/id_table.h"
#include "src/memory/staged_id_writes.h"
#include "src/stores/id_log/id_log.h"
#include "tests/benchmark/random_ids.h"

namespace once::benchmark {
namespace {

using nlohmann::ordered_json;

constexpr std::array<std::size_t, 4> kBatches = {1, 100, 1000, 5000};
constexpr std::size_t kBatchOfFilling = 1000;
constexpr std::size_t kIdsPerMeasurement = 400'000;
constexpr std::string_view kScope = "g7:billing/payments";

double CpuSeconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// Of memory that is in use now.
double ResidentBytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  long pages = 0;
  if (file == nullptr || std::fscanf(file, "%*s %ld", &pages) != 1) std::abort();
  std::fclose(file);
  return static_cast<double>(pages) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

// Ids of some numbers, with keys to look them up by.
struct Ids {
  explicit Ids(const std::vector<std::uint64_t>& of) : numbers(of) {
    texts.reserve(numbers.size());
    for (const std::uint64_t number : numbers) texts.push_back(IdOf(number));
    for (const auto& text : texts) {
      keys.push_back({.scope = kScope, .id = {text.data(), text.size()}});
    }
  }

  std::vector<std::uint64_t> numbers;
  std::vector<std::array<char, 16>> texts;
  std::vector<IdKey> keys;
};

class Contestant {
 public:
  virtual ~Contestant() = default;
  virtual void Find(std::span<const IdKey> keys, std::span<IdRecord> records) = 0;
  virtual void Put(std::span<const IdKey> keys, std::span<const std::uint64_t> numbers) = 0;
};

class MemoryTable : public Contestant {
 public:
  void Find(std::span<const IdKey> keys, std::span<IdRecord> records) override {
    table_.Find(keys, absl::UnixEpoch(), records);
  }
  void Put(std::span<const IdKey> keys, std::span<const std::uint64_t> numbers) override {
    memory::StagedIdWrites writes;
    writes.Reserve(keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      writes.Append({.key = keys[i], .record = RecordOf(numbers[i])});
    }
    table_.Put(writes);
  }

 private:
  memory::IdTable table_;
};

// Where segments go that are never read again.
class NoStorage : public stores::SegmentStorage {
 public:
  absl::Status Append(std::uint64_t, std::string_view) override { return {}; }
  absl::Status PutOpen(std::string_view, std::optional<std::string_view>) override { return {}; }
  absl::StatusOr<std::optional<std::string>> ReadManifest() override {
    return std::optional<std::string>();
  }
  absl::Status WriteManifest(std::string_view) override { return {}; }
  absl::Status ForEachOpen(
      absl::FunctionRef<absl::Status(std::string_view, std::string_view)>) override {
    return {};
  }
  absl::StatusOr<std::vector<std::uint32_t>> ListRuns() override {
    return std::vector<std::uint32_t>();
  }
  absl::StatusOr<bool> DropSegments(std::uint64_t, std::size_t) override { return true; }
  absl::StatusOr<bool> DropPages(std::uint32_t, std::size_t) override { return true; }
  absl::Status ForEachSegment(
      std::uint64_t, std::uint64_t,
      absl::FunctionRef<absl::Status(std::uint64_t, std::string_view)>) override {
    return {};
  }
  absl::Status WritePages(std::uint32_t, std::uint32_t, std::span<const std::string>) override {
    return {};
  }
  absl::StatusOr<std::string> ReadPage(std::uint32_t, std::uint32_t) override {
    return absl::NotFoundError("nothing is kept");
  }
};

// With its segments encoded, as for a disk.
class Log : public Contestant {
 public:
  Log() {
    constexpr std::size_t kAll = std::size_t{1} << 30;
    auto log =
        stores::IdLog::Open(storage_, {.recent = {.bytes_max = kAll}, .unsealed_bytes_max = kAll});
    if (!log.ok()) std::abort();
    log_ = *std::move(log);
  }
  void Find(std::span<const IdKey> keys, std::span<IdRecord> records) override {
    const auto none = [](std::size_t, std::string_view) {};
    if (!log_->Find(keys, {}, records, none).ok()) std::abort();
  }
  void Put(std::span<const IdKey> keys, std::span<const std::uint64_t> numbers) override {
    stores::IdChanges changes;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (!log_->Stage({.key = keys[i], .record = RecordOf(numbers[i])}, "", changes).ok()) {
        std::abort();
      }
    }
    if (!log_->WriteSegment(changes, 0).ok()) std::abort();
    log_->Committed(std::move(changes));
  }

 private:
  NoStorage storage_;
  std::unique_ptr<stores::IdLog> log_;
};

// Looks the ids up and, if `is_put`, puts them, a batch at a time. Ids per CPU second.
double Measure(Contestant& contestant, const Ids& ids, std::size_t batch, bool is_put,
               bool is_known) {
  std::vector<IdRecord> records(batch);
  std::size_t wrong = 0;
  const double begin = CpuSeconds();
  for (std::size_t at = 0; at < ids.keys.size(); at += batch) {
    const std::size_t size = std::min(batch, ids.keys.size() - at);
    const std::span<const IdKey> keys(&ids.keys[at], size);
    contestant.Find(keys, {records.data(), size});
    for (std::size_t i = 0; i < size; ++i) {
      const IdRecord expected = is_known ? RecordOf(ids.numbers[at + i]) : IdRecord();
      wrong += records[i] == expected ? 0U : 1U;
    }
    if (is_put) contestant.Put(keys, {&ids.numbers[at], size});
  }
  const double seconds = CpuSeconds() - begin;
  if (wrong > 0) {
    std::fprintf(stderr, "%zu answers are wrong\n", wrong);
    std::abort();
  }
  return static_cast<double>(ids.keys.size()) / seconds;
}

std::vector<std::uint64_t> NumbersFrom(std::uint64_t first, std::size_t count) {
  std::vector<std::uint64_t> numbers(count);
  for (std::size_t i = 0; i < count; ++i) numbers[i] = first + i;
  return numbers;
}

// Spread over all that are known.
std::vector<std::uint64_t> SomeOf(std::uint64_t known, std::size_t count) {
  std::vector<std::uint64_t> numbers(count);
  for (std::size_t i = 0; i < count; ++i) numbers[i] = (i * 0x9E3779B97F4A7C15 >> 16) % known;
  return numbers;
}

ordered_json RunContestant(Contestant& contestant, const std::vector<std::uint64_t>& targets) {
  ordered_json json;
  constexpr double kMegabyte = 1e6;
  const double bytes_before = ResidentBytes();
  std::uint64_t known = 0;
  for (const std::uint64_t target : targets) {
    double filling_seconds = 0;
    for (; known < target; known += kBatchOfFilling) {
      const Ids ids(NumbersFrom(known, kBatchOfFilling));
      const double begin = CpuSeconds();
      contestant.Put(ids.keys, ids.numbers);
      filling_seconds += CpuSeconds() - begin;
    }
    const double bytes = ResidentBytes();
    ordered_json& at = json[std::to_string(target)];
    at["bytes_per_id"] = (bytes - bytes_before) / static_cast<double>(known);
    at["resident_mb"] = bytes / kMegabyte;
    for (const std::size_t batch : kBatches) {
      const std::string name = std::to_string(batch);
      const Ids old(SomeOf(known, kIdsPerMeasurement));
      at["find_known"][name] = Measure(contestant, old, batch, false, true);
      const Ids fresh(NumbersFrom(known, kIdsPerMeasurement));
      at["find_absent"][name] = Measure(contestant, fresh, batch, false, false);
      at["find_and_put"][name] = Measure(contestant, fresh, batch, true, false);
      known += kIdsPerMeasurement;
    }
  }
  return json;
}

// In a process of its own.
ordered_json RunApart(bool is_log, const std::vector<std::uint64_t>& targets) {
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) std::abort();
  const pid_t child = fork();
  if (child < 0) std::abort();
  if (child == 0) {
    close(ends[0]);
    std::unique_ptr<Contestant> contestant;
    if (is_log) {
      contestant = std::make_unique<Log>();
    } else {
      contestant = std::make_unique<MemoryTable>();
    }
    const std::string line = RunContestant(*contestant, targets).dump();
    const bool is_written =
        write(ends[1], line.data(), line.size()) == static_cast<ssize_t>(line.size());
    std::_Exit(is_written ? 0 : 1);
  }
  close(ends[1]);
  std::string output;
  std::array<char, 4096> buffer{};
  for (ssize_t size = 0; (size = read(ends[0], buffer.data(), buffer.size())) > 0;) {
    output.append(buffer.data(), static_cast<std::size_t>(size));
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0) {
    std::fprintf(stderr, "once_bench_ids: a contestant failed\n");
    std::exit(1);
  }
  return ordered_json::parse(output);
}

int Main(const std::vector<std::string>& words) {
  std::vector<std::uint64_t> targets;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] != "--ids" || i + 1 == words.size()) {
      std::fprintf(stderr, "once_bench_ids [--ids N]...\n");
      return 2;
    }
    targets.push_back(std::strtoull(words[++i].c_str(), nullptr, 10));
  }
  if (targets.empty()) targets = {1'000'000, 10'000'000};
  const ordered_json table = RunApart(false, targets);
  const ordered_json log = RunApart(true, targets);
  ordered_json json = {{"memory_table", table}, {"id_log", log}};
  for (const auto& [at, measured] : log.items()) {
    ordered_json& ratios = json["log_to_table"][at];
    for (const char* what : {"find_known", "find_absent", "find_and_put"}) {
      for (const auto& [batch, speed] : measured.at(what).items()) {
        ratios[what][batch] = speed.get<double>() / table.at(at).at(what).at(batch).get<double>();
      }
    }
    ratios["bytes_per_id"] =
        measured.at("bytes_per_id").get<double>() / table.at(at).at("bytes_per_id").get<double>();
  }
  std::printf("%s\n", json.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace once::benchmark

int main(int argc, char** argv) { return once::benchmark::Main({argv + 1, argv + argc}); }
