// once_bench_stores: what a store alone costs per id, few ids and many ids full. Each store is a
// process of its own; they are filled and measured in turns. Prints one JSON object:
//
//   once_bench_stores --folder F [--postgres CONNECTION] [--only NAME,…] [--ids N]… [--rounds N]
//
// Ids are 16 random bytes with a fingerprint, one in twenty is known already. By default at
// 1 000 000 ids; --ids 1000000 --ids 50000000 adds `growth`: how much dearer an id has become.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "tests/benchmark/stores/measured_store.h"

namespace once::benchmark {
namespace {

using nlohmann::ordered_json;

// Copies mostly come soon after their message; but a redrive, or a topic that is read from its
// beginning, brings them from anywhere.
constexpr std::uint64_t kRecentIds = 1'000'000;
constexpr std::uint64_t kAnyId = ~std::uint64_t{0};

struct BatchPlan {
  std::string name;
  std::size_t batch = 0;
  std::uint64_t ids = 0;  // a round's
  std::uint64_t known_among = kRecentIds;
};
const std::vector<BatchPlan> kPlans = {{"1", 1, 2'000},
                                       {"100", 100, 50'000},
                                       {"1000", 1000, 200'000},
                                       {"5000", 5000, 400'000},
                                       {"5000_known_anywhere", 5000, 400'000, kAnyId}};
// Servers answer once per statement: so many fewer are enough.
constexpr std::uint64_t kFewerOfServers = 10;

struct Settings {
  std::string folder;
  std::string postgres;
  std::vector<std::string> stores = {"memory", "rocksdb", "sqlite", "postgres"};
  std::vector<std::uint64_t> targets;
  int rounds = 3;
};

std::uint64_t IdsOf(const BatchPlan& plan, const std::string& store) {
  return store == "postgres" ? std::max<std::uint64_t>(plan.ids / kFewerOfServers, plan.batch)
                             : plan.ids;
}

// One store's process: a line in, a line out.
class StoreProcess {
 public:
  StoreProcess(const StorePlace& place) {
    std::array<int, 2> in{};
    std::array<int, 2> out{};
    if (pipe2(in.data(), O_CLOEXEC) != 0 || pipe2(out.data(), O_CLOEXEC) != 0) std::abort();
    pid_ = fork();
    if (pid_ < 0) std::abort();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      Serve(place, fdopen(in[0], "r"), fdopen(out[1], "w"));
    }
    close(in[0]);
    close(out[1]);
    to_ = fdopen(in[1], "w");
    from_ = fdopen(out[0], "r");
  }
  ~StoreProcess() {
    std::fclose(to_);
    std::fclose(from_);
    waitpid(pid_, nullptr, 0);
  }
  StoreProcess(const StoreProcess&) = delete;
  StoreProcess& operator=(const StoreProcess&) = delete;

  ordered_json Ask(const ordered_json& question) {
    std::fprintf(to_, "%s\n", question.dump().c_str());
    std::fflush(to_);
    std::array<char, 4096> line{};
    if (std::fgets(line.data(), line.size(), from_) == nullptr) {
      std::fprintf(stderr, "once_bench_stores: a store's process has ended\n");
      std::exit(1);
    }
    return ordered_json::parse(line.data());
  }

 private:
  static ordered_json Answer(MeasuredStore& store, const ordered_json& question) {
    if (question.contains("fill")) {
      store.FillTo(question["fill"].get<std::uint64_t>());
      const auto per_id = [&](std::uint64_t bytes) {
        return static_cast<double>(bytes) / static_cast<double>(store.known());
      };
      return {{"disk_bytes_per_id", per_id(store.DiskBytes())},
              {"memory_bytes_per_id", per_id(store.MemoryBytes())}};
    }
    const auto measured =
        store.Measure(question["batch"].get<std::size_t>(), question["ids"].get<std::uint64_t>(),
                      question["known_among"].get<std::uint64_t>());
    const auto ids = static_cast<double>(measured.ids);
    return {{"ids_per_second", ids / measured.seconds},
            {"cpu_us_per_id", 1e6 * measured.cpu_seconds / ids}};
  }

  [[noreturn]] static void Serve(const StorePlace& place, std::FILE* in, std::FILE* out) {
    {
      MeasuredStore store(place);
      std::array<char, 4096> line{};
      while (std::fgets(line.data(), line.size(), in) != nullptr) {
        std::fprintf(out, "%s\n", Answer(store, ordered_json::parse(line.data())).dump().c_str());
        std::fflush(out);
      }
    }
    std::_Exit(0);
  }

  pid_t pid_ = -1;
  std::FILE* to_ = nullptr;
  std::FILE* from_ = nullptr;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// By batch size; medians over the rounds, in which the stores take turns.
std::map<std::string, ordered_json> MeasureAll(
    const Settings& settings, std::map<std::string, std::unique_ptr<StoreProcess>>& processes) {
  std::map<std::string, ordered_json> measured;
  for (const BatchPlan& plan : kPlans) {
    std::map<std::string, std::map<std::string, std::vector<double>>> found;
    for (int round = 0; round < settings.rounds; ++round) {
      for (const auto& [name, process] : processes) {
        const ordered_json one = process->Ask(
            {{"batch", plan.batch}, {"ids", IdsOf(plan, name)}, {"known_among", plan.known_among}});
        for (const auto& [what, value] : one.items()) found[name][what].push_back(value);
      }
    }
    for (const auto& [name, figures] : found) {
      for (const auto& [what, values] : figures) {
        measured[name]["batches"][plan.name][what] = Median(values);
      }
    }
  }
  return measured;
}

// How many times dearer an id is at the last target than at the first, by batch size.
ordered_json GrowthOf(const ordered_json& first, const ordered_json& last) {
  ordered_json growth;
  for (const auto& [batch, figures] : first["batches"].items()) {
    const ordered_json& later = last["batches"][batch];
    growth[batch] = {
        {"cpu", later["cpu_us_per_id"].get<double>() / figures["cpu_us_per_id"].get<double>()},
        {"time", figures["ids_per_second"].get<double>() / later["ids_per_second"].get<double>()}};
  }
  return growth;
}

int RunAll(const Settings& settings) {
  std::map<std::string, std::unique_ptr<StoreProcess>> processes;
  for (const std::string& name : settings.stores) {
    if (name == "postgres" && settings.postgres.empty()) continue;
    const std::string folder = settings.folder + "/" + name;
    std::filesystem::create_directories(folder);
    processes[name] = std::make_unique<StoreProcess>(
        StorePlace{.kind = name, .folder = folder, .postgres = settings.postgres});
  }
  ordered_json json;
  for (const std::uint64_t target : settings.targets) {
    const std::string at = std::to_string(target);
    for (const auto& [name, process] : processes) {
      std::fprintf(stderr, "bench: filling %s to %s ids\n", name.c_str(), at.c_str());
      json["stores"][name][at] = process->Ask({{"fill", target}});
    }
    for (auto& [name, measured] : MeasureAll(settings, processes)) {
      json["stores"][name][at].update(measured);
      for (const auto& [batch, figures] : measured["batches"].items()) {
        std::fprintf(stderr, "bench: %9s ids, %-8s %-19s: %9.0f ids/s %7.2f CPU us/id\n",
                     at.c_str(), name.c_str(), batch.c_str(),
                     figures["ids_per_second"].get<double>(),
                     figures["cpu_us_per_id"].get<double>());
      }
    }
  }
  if (settings.targets.size() > 1) {
    for (const auto& [name, process] : processes) {
      const ordered_json& store = json["stores"][name];
      json["growth"][name] = GrowthOf(store[std::to_string(settings.targets.front())],
                                      store[std::to_string(settings.targets.back())]);
    }
  }
  std::printf("%s\n", json.dump().c_str());
  return 0;
}

int Main(const std::vector<std::string>& words) {
  Settings settings;
  for (std::size_t i = 0; i < words.size(); i += 2) {
    const std::string value = i + 1 < words.size() ? words[i + 1] : "";
    if (words[i] == "--folder") {
      settings.folder = value;
    } else if (words[i] == "--postgres") {
      settings.postgres = value;
    } else if (words[i] == "--only") {
      settings.stores = absl::StrSplit(value, ',');
    } else if (words[i] == "--rounds") {
      settings.rounds = std::max(std::atoi(value.c_str()), 1);
    } else if (words[i] == "--ids" && std::strtoull(value.c_str(), nullptr, 10) > 0) {
      settings.targets.push_back(std::strtoull(value.c_str(), nullptr, 10));
    } else {
      std::fprintf(stderr,
                   "once_bench_stores --folder F [--postgres CONNECTION] [--only NAME,...] "
                   "[--ids N]... [--rounds N]\n");
      return 2;
    }
  }
  if (settings.targets.empty()) settings.targets = {1'000'000};
  std::sort(settings.targets.begin(), settings.targets.end());
  return RunAll(settings);
}

}  // namespace
}  // namespace once::benchmark

int main(int argc, char** argv) { return once::benchmark::Main({argv + 1, argv + argc}); }
