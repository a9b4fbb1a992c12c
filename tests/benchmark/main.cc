// once_bench consume: fills a topic of a real broker, lets the contestants consume it in turns,
// each in a process of its own, checks their effects, and prints one JSON object to standard
// output. `./dev bench consume` starts the broker and this. Exit codes: 0 done; 1 a contestant's
// effects are not exact, or it failed; other codes are CLI11's, for wrong flags.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "CLI/CLI.hpp"
#include "tests/benchmark/child.h"
#include "tests/benchmark/contestants.h"
#include "tests/benchmark/effects_family.h"
#include "tests/benchmark/effects_table.h"
#include "tests/benchmark/postgres_tables.h"
#include "tests/benchmark/report.h"
#include "tests/benchmark/topic.h"
#include "tests/benchmark/workload.h"
#include "tests/scratch_folder.h"

namespace once::benchmark {
namespace {

using nlohmann::ordered_json;

// Where a contestant leaves its effects, to be read by another process.
enum class Rows { kNone, kSqlite, kRocksdb, kPostgres };

struct Contestant {
  const char* name;
  Finish (*consume)(const Task&);
  Rows rows = Rows::kNone;
  bool is_by_sequence = false;  // `sequence` has it, `consume` does not
};

// Those that are compared with one another run one after the other.
constexpr std::array kContestants = {
    Contestant{"raw", &ConsumeRaw},
    Contestant{"raw_headers", &ConsumeRawWithHeaders},
    Contestant{"memory", &ConsumeWithMemoryStore},
    Contestant{"rocksdb", &ConsumeWithRocksdbStore},
    Contestant{"sqlite", &ConsumeWithSqliteStore},
    Contestant{"hand_written_rocksdb", &ConsumeByHandWithRocksdb},
    Contestant{"hand_written_sqlite", &ConsumeByHandWithSqlite},
    Contestant{"rocksdb_transactional", &ConsumeWithRocksdbRows, Rows::kRocksdb},
    Contestant{"hand_written_rocksdb_rows", &ConsumeByHandWithRocksdbRows, Rows::kRocksdb},
    Contestant{"sqlite_transactional", &ConsumeWithSqliteRows, Rows::kSqlite},
    Contestant{"hand_written_sqlite_rows", &ConsumeByHandWithSqliteRows, Rows::kSqlite},
    Contestant{"postgres_transactional", &ConsumeWithPostgresRows, Rows::kPostgres},
    Contestant{"hand_written_postgres_rows", &ConsumeByHandWithPostgresRows, Rows::kPostgres},
    Contestant{"postgres_batches", &ConsumeWithPostgresBatches, Rows::kPostgres},
    Contestant{"hand_written_postgres_arrays", &ConsumeByHandWithPostgresArrays, Rows::kPostgres},
    Contestant{"rocksdb_sequence", &ConsumeBySequenceWithRocksdb, Rows::kNone, true},
    Contestant{"rocksdb_sequence_and_loss", &ConsumeBySequenceAndWatchWithRocksdb, Rows::kNone,
               true},
    Contestant{"sqlite_sequence", &ConsumeBySequenceWithSqlite, Rows::kNone, true}};

// What `sequence` compares those with.
constexpr std::array<std::string_view, 4> kBesideSequence = {"raw", "raw_headers", "rocksdb",
                                                             "sqlite"};

const std::vector<Ratio> kRatios = {
    {"raw_headers_to_raw", "raw_headers", "raw"},
    {"memory_to_raw", "memory", "raw"},
    {"rocksdb_to_raw", "rocksdb", "raw"},
    {"sqlite_to_raw", "sqlite", "raw"},
    {"rocksdb_to_hand_written", "rocksdb", "hand_written_rocksdb"},
    {"sqlite_to_hand_written", "sqlite", "hand_written_sqlite"},
    {"rocksdb_transactional_to_hand_written", "rocksdb_transactional", "hand_written_rocksdb_rows"},
    {"sqlite_transactional_to_hand_written", "sqlite_transactional", "hand_written_sqlite_rows"},
    {"postgres_transactional_to_hand_written", "postgres_transactional",
     "hand_written_postgres_rows"},
    {"postgres_batches_to_hand_written", "postgres_batches", "hand_written_postgres_arrays"},
    {"rocksdb_sequence_to_raw", "rocksdb_sequence", "raw"},
    {"rocksdb_sequence_and_loss_to_raw", "rocksdb_sequence_and_loss", "raw"},
    {"sqlite_sequence_to_raw", "sqlite_sequence", "raw"}};

struct Options {
  std::string brokers;
  std::string postgres;  // empty: its contestants are left out
  std::int64_t messages = 1'000'000;
  int rounds = 3;
  std::string commit;
  std::vector<std::string> only;  // names of contestants; empty: all
  bool is_json = false;
  bool is_sequence = false;  // `sequence`: all messages carry the stamps of an outbox
};

struct Duty {
  std::string what;  // "create", "fill", "check" or a contestant's name; empty in the parent
  Task task;
  bool is_stamped = false;
};

void Say(const std::string& line) { std::fprintf(stderr, "bench: %s\n", line.c_str()); }

int DoDuty(const Duty& duty) {
  LimitChild();
  if (duty.what == "create") {
    CreateTopic(duty.task.brokers, duty.task.topic);
    return 0;
  }
  if (duty.what == "fill") {
    FillTopic(duty.task.brokers, duty.task.topic, duty.task.messages, duty.is_stamped);
    return 0;
  }
  if (duty.what == "check") {
    std::fputs(FindWrongEffects(duty.task.database, duty.task.messages).c_str(), stdout);
    return 0;
  }
  if (duty.what == "check-postgres") {
    std::fputs(FindWrongEffectsOnServer(duty.task).c_str(), stdout);
    DropSchema(duty.task);
    return 0;
  }
  if (duty.what == "check-rocksdb") {
    std::fputs(FindWrongEffectsInFamily(duty.task.database, duty.task.messages).c_str(), stdout);
    return 0;
  }
  for (const Contestant& contestant : kContestants) {
    if (duty.what != contestant.name) continue;
    const Finish finish = contestant.consume(duty.task);
    const ordered_json line = {{"seconds", finish.seconds},
                               {"messages", finish.messages},
                               {"processed", finish.processed},
                               {"duplicates", finish.duplicates}};
    std::fputs(line.dump().c_str(), stdout);
    return 0;
  }
  throw std::runtime_error("there is no contestant " + duty.what);
}

std::vector<std::string> ArgumentsOf(const std::string& what, const Task& task) {
  return {what,         "--topic",     task.topic,
          "--group",    task.group,    "--brokers",
          task.brokers, "--messages",  std::to_string(task.messages),
          "--database", task.database, "--postgres",
          task.postgres};
}

const char* CheckOf(Rows rows) {
  if (rows == Rows::kPostgres) return "check-postgres";
  return rows == Rows::kRocksdb ? "check-rocksdb" : "check";
}

class Benchmark {
 public:
  explicit Benchmark(const Options& options)
      : options_(options), topic_("once-bench-" + std::to_string(getpid())) {
    for (const Contestant& contestant : kContestants) {
      const bool can_run =
          IsOfThis(contestant) && (contestant.rows != Rows::kPostgres || !options.postgres.empty());
      if (can_run && IsChosen(contestant.name)) contestants_.push_back(contestant);
    }
    const auto runs = [&](const std::string& name) {
      return std::any_of(contestants_.begin(), contestants_.end(),
                         [&](const Contestant& contestant) { return contestant.name == name; });
    };
    for (const Ratio& ratio : kRatios) {
      if (runs(ratio.dividend) && runs(ratio.divisor)) ratios_.push_back(ratio);
    }
  }

  // The exit code.
  int Run() {
    Say("filling " + topic_ + " with " + std::to_string(options_.messages) + " messages");
    Fill();
    // Not counted: it warms the broker, whose first reading is slower than all others.
    RunSelf(ArgumentsOf("raw", TaskOf("warm", 0)));
    std::vector<Round> rounds;
    for (int number = 1; number <= options_.rounds; ++number) rounds.push_back(RunRound(number));
    DeleteTopic(options_.brokers, topic_);
    const Summary summary = Summarize(rounds, ratios_);
    if (!options_.is_json) PrintTable(summary);
    std::printf("%s\n", Render(summary).dump().c_str());
    return is_exact_ ? 0 : 1;
  }

 private:
  bool IsOfThis(const Contestant& contestant) const {
    if (!options_.is_sequence) return !contestant.is_by_sequence;
    return contestant.is_by_sequence || std::find(kBesideSequence.begin(), kBesideSequence.end(),
                                                  contestant.name) != kBesideSequence.end();
  }

  void Fill() {
    const Task task = TaskOf("fill", 0);
    RunSelf(ArgumentsOf("create", task));
    std::vector<std::string> arguments = ArgumentsOf("fill", task);
    if (options_.is_sequence) arguments.emplace_back("--stamped");
    RunSelf(arguments);
  }

  bool IsChosen(std::string_view name) const {
    return options_.only.empty() ||
           std::find(options_.only.begin(), options_.only.end(), name) != options_.only.end();
  }

  Task TaskOf(const std::string& name, int round) const {
    const std::string group = topic_ + "-" + name + "-" + std::to_string(round);
    return {.brokers = options_.brokers,
            .topic = topic_,
            .group = group,
            .messages = options_.messages,
            .postgres = options_.postgres,
            .database = folder_.File(group + ".db")};
  }

  Round RunRound(int number) {
    Round round;
    std::vector<Contestant> order = contestants_;
    // Every other round backwards, so that nobody always runs after the same one.
    if (number % 2 == 0) std::reverse(order.begin(), order.end());
    for (const Contestant& contestant : order) {
      round[contestant.name] = RunContestant(contestant, number);
    }
    return round;
  }

  Measurement RunContestant(const Contestant& contestant, int number) {
    const Task task = TaskOf(contestant.name, number);
    const ChildResult child = RunSelf(ArgumentsOf(contestant.name, task));
    const ordered_json line = ordered_json::parse(child.output);
    CheckEffects(contestant, task, line);
    std::filesystem::remove_all(task.database);
    const double messages = static_cast<double>(options_.messages);
    constexpr double kMillion = 1e6;
    const Measurement measured{.messages_per_second = messages / line.at("seconds").get<double>(),
                               .cpu_seconds_per_million = child.cpu_seconds / messages * kMillion,
                               .peak_mb = child.peak_mb};
    std::array<char, 160> text{};
    std::snprintf(text.data(), text.size(), "round %d  %-26s %9.0f msg/s  %6.2f CPU s/M  %5.0f MB",
                  number, contestant.name, measured.messages_per_second,
                  measured.cpu_seconds_per_million, measured.peak_mb);
    Say(text.data());
    return measured;
  }

  // What it counted, and, where there is a table, what is in it.
  void CheckEffects(const Contestant& contestant, const Task& task, const ordered_json& line) {
    const std::int64_t orders = CountOrders(options_.messages);
    const bool is_raw =
        contestant.consume == &ConsumeRaw || contestant.consume == &ConsumeRawWithHeaders;
    std::string wrong;
    if (line.at("messages") != options_.messages) {
      wrong = "it took " + line.at("messages").dump() + " messages";
    } else if (!is_raw && (line.at("processed") != orders ||
                           line.at("duplicates") != options_.messages - orders)) {
      wrong = "it counted " + line.at("processed").dump() + " effects and " +
              line.at("duplicates").dump() + " duplicates";
    } else if (contestant.rows != Rows::kNone) {
      wrong = RunSelf(ArgumentsOf(CheckOf(contestant.rows), task)).output;
    }
    if (wrong.empty()) return;
    is_exact_ = false;
    Say("NOT EXACT: " + std::string(contestant.name) + ": " + wrong);
  }

  static void PrintTable(const Summary& summary) {
    for (const auto& [name, ratio] : summary.ratios) {
      std::fprintf(stderr, "%-40s %6.2f\n", name.c_str(), ratio);
    }
  }

  ordered_json Render(const Summary& summary) const {
    ordered_json json;
    for (const auto& [name, ratio] : summary.ratios) json["ratios"][name] = Rounded(ratio, 1000);
    for (const Contestant& contestant : contestants_) {
      const Measurement& measured = summary.contestants.at(contestant.name);
      json["messages_per_second"][contestant.name] = Rounded(measured.messages_per_second, 1);
      json["cpu_seconds_per_million"][contestant.name] =
          Rounded(measured.cpu_seconds_per_million, 100);
      json["peak_mb"][contestant.name] = Rounded(measured.peak_mb, 1);
    }
    json["effects_exact"] = is_exact_;
    json["messages"] = options_.messages;
    json["rounds"] = options_.rounds;
    json["commit"] = options_.commit;
    return json;
  }

  static double Rounded(double value, double parts) { return std::round(value * parts) / parts; }

  const Options options_;
  const std::string topic_;
  std::vector<Contestant> contestants_;
  std::vector<Ratio> ratios_;
  const testing::ScratchFolder folder_;
  bool is_exact_ = true;
};

CLI::App* AddCommand(CLI::App& app, const char* name, const char* description, Options& options) {
  CLI::App* command = app.add_subcommand(name, description);
  command->add_option("--brokers", options.brokers, "Kafka brokers, HOST:PORT[,…]")->required();
  command->add_option("--postgres", options.postgres, "a server, as libpq names it");
  command->add_option("--messages", options.messages, "messages in the topic")
      ->check(CLI::Range(std::int64_t{1000}, std::int64_t{100'000'000}))
      ->capture_default_str();
  command->add_option("--rounds", options.rounds, "how often each contestant runs")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  std::vector<std::string> names;
  for (const Contestant& contestant : kContestants) names.emplace_back(contestant.name);
  command->add_option("--only", options.only, "these contestants, by name")
      ->delimiter(',')
      ->check(CLI::IsMember(names));
  command->add_option("--commit", options.commit, "the commit that is measured, for the output");
  command->add_flag("--json", options.is_json, "nothing but the JSON object and the progress");
  return command;
}

int Main(int argc, char** argv) {
  CLI::App app("Benchmarks of once against what one would use instead.", "once_bench");
  app.require_subcommand(1);
  Options options;
  AddCommand(app, "consume", "consuming a topic", options);
  AddCommand(app, "sequence", "consuming a topic whose messages are numbered", options)
      ->callback([&options] { options.is_sequence = true; });
  Duty duty;
  std::vector<std::string> duties = {"create", "fill", "check", "check-rocksdb", "check-postgres"};
  for (const Contestant& contestant : kContestants) duties.emplace_back(contestant.name);
  for (const std::string& name : duties) {
    CLI::App* command = app.add_subcommand(name)->group("");  // for the program's own use
    command->add_option("--brokers", duty.task.brokers);
    command->add_option("--topic", duty.task.topic);
    command->add_option("--group", duty.task.group);
    command->add_option("--messages", duty.task.messages);
    command->add_flag("--stamped", duty.is_stamped);
    command->add_option("--database", duty.task.database);
    command->add_option("--postgres", duty.task.postgres);
    command->callback([&duty, name] { duty.what = name; });
  }
  CLI11_PARSE(app, argc, argv);
  return duty.what.empty() ? Benchmark(options).Run() : DoDuty(duty);
}

}  // namespace
}  // namespace once::benchmark

int main(int argc, char** argv) {
  try {
    return once::benchmark::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "once_bench: %s\n", error.what());
    return 1;
  }
}
