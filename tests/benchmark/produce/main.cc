// once_bench_produce: sends to a real broker in several ways in turns, each in a process of its own
// and to a topic of its own, checks that everything has arrived, and prints one JSON object to
// standard output. `produce` compares producers, `outbox` relays of rows that wait in a store.
// `./dev bench produce | outbox` starts the servers and this. Exit codes: 0 done; 1 messages are
// missing or a sender failed; other codes are CLI11's, for wrong flags.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "once/sequence.h"
#include "tests/benchmark/child.h"
#include "tests/benchmark/produce/outbox_senders.h"
#include "tests/benchmark/produce/senders.h"
#include "tests/benchmark/report.h"
#include "tests/benchmark/topic.h"
#include "tests/scratch_folder.h"

namespace once::benchmark {
namespace {

using nlohmann::ordered_json;

struct Contestant {
  const char* name;
  double (*send)(const SendTask&);
  bool is_stamped = false;
  std::optional<OutboxStore> outbox = std::nullopt;  // is filled before
};

template <OutboxStore kKind>
double SendOutbox(const SendTask& task) {
  return SendFromOutbox(task, kKind);
}

// Of one subcommand.
struct Comparison {
  const char* name;
  const char* what;
  std::vector<Contestant> contestants;
  std::vector<Ratio> ratios;
};

const std::vector<Comparison> kComparisons = {
    {"produce",
     "producers in turns",
     {{"raw", &SendRaw},
      {"raw_stamped", &SendRawStamped, true},
      {"unstamped", &SendUnstamped},
      {"stamped", &SendStamped, true},
      {"tickets", &SendWithTickets, true}},
     {{"raw_stamped_to_raw", "raw_stamped", "raw"},
      {"unstamped_to_raw", "unstamped", "raw"},
      {"stamped_to_raw", "stamped", "raw"},
      {"tickets_to_raw", "tickets", "raw"}}},
    {"outbox",
     "relays in turns",
     {{"raw", &SendRaw},
      {"sqlite", &SendOutbox<OutboxStore::kSqlite>, true, OutboxStore::kSqlite},
      {"rocksdb", &SendOutbox<OutboxStore::kRocksDb>, true, OutboxStore::kRocksDb},
      {"postgres", &SendOutbox<OutboxStore::kPostgres>, true, OutboxStore::kPostgres}},
     {{"sqlite_to_raw", "sqlite", "raw"},
      {"rocksdb_to_raw", "rocksdb", "raw"},
      {"postgres_to_raw", "postgres", "raw"}}}};

struct Options {
  SendTask task;
  int rounds = 5;
  std::vector<std::string> only;  // empty: all
  std::string commit;
};

double Rounded(double value, double parts) { return std::round(value * parts) / parts; }

Measurement RunContestant(const Contestant& contestant, const Options& options, int round,
                          bool& is_exact) {
  SendTask task = options.task;
  task.topic = "once-bench-" + std::to_string(getpid()) + "-" + contestant.name + "-" +
               std::to_string(round);
  CreateTopic(task.brokers, task.topic);
  if (contestant.outbox) FillOutbox(task, *contestant.outbox);
  const std::vector<std::string> words = {contestant.name,
                                          "--brokers",
                                          task.brokers,
                                          "--topic",
                                          task.topic,
                                          "--messages",
                                          std::to_string(task.messages),
                                          "--room",
                                          std::to_string(task.room),
                                          "--folder",
                                          task.folder,
                                          "--postgres",
                                          task.postgres};
  const ChildResult child = RunSelf(words);
  const std::string wrong = FindWrongRecords(task, contestant.is_stamped);
  if (contestant.outbox) DropOutbox(task, *contestant.outbox);
  DeleteTopic(task.brokers, task.topic);
  if (contestant.is_stamped) DeleteTopic(task.brokers, MarksTopic(task.topic));
  if (!wrong.empty()) {
    is_exact = false;
    std::fprintf(stderr, "bench: NOT EXACT: %s: %s\n", contestant.name, wrong.c_str());
  }
  const double messages = static_cast<double>(task.messages);
  constexpr double kMillion = 1e6;
  const Measurement measured{.messages_per_second = messages / std::stod(child.output),
                             .cpu_seconds_per_million = child.cpu_seconds / messages * kMillion,
                             .peak_mb = child.peak_mb};
  std::fprintf(stderr, "bench: round %d  %-10s %9.0f msg/s  %5.2f CPU s/M  %5.0f MB\n", round,
               contestant.name, measured.messages_per_second, measured.cpu_seconds_per_million,
               measured.peak_mb);
  return measured;
}

int Run(const Comparison& comparison, const Options& options) {
  std::vector<Contestant> contestants = comparison.contestants;
  std::vector<Ratio> ratios = comparison.ratios;
  if (options.task.postgres.empty()) {
    std::erase_if(contestants,
                  [](const Contestant& one) { return one.outbox == OutboxStore::kPostgres; });
    std::erase_if(ratios, [](const Ratio& ratio) { return ratio.dividend == "postgres"; });
  }
  const auto is_left_out = [&](const std::string& name) {
    return !options.only.empty() &&
           std::find(options.only.begin(), options.only.end(), name) == options.only.end();
  };
  std::erase_if(contestants, [&](const Contestant& one) { return is_left_out(one.name); });
  std::erase_if(ratios, [&](const Ratio& ratio) {
    return is_left_out(ratio.dividend) || is_left_out(ratio.divisor);
  });
  bool is_exact = true;
  std::vector<Round> rounds;
  // Round 0 warms the broker and is not counted.
  for (int number = 0; number <= options.rounds; ++number) {
    std::vector<Contestant> order = contestants;
    if (number % 2 == 0) std::reverse(order.begin(), order.end());
    Round round;
    for (const Contestant& contestant : order) {
      round[contestant.name] = RunContestant(contestant, options, number, is_exact);
    }
    if (number > 0) rounds.push_back(round);
  }
  const Summary summary = Summarize(rounds, ratios);
  ordered_json json;
  for (const auto& [name, ratio] : summary.ratios) json["ratios"][name] = Rounded(ratio, 1000);
  for (const Contestant& contestant : contestants) {
    const Measurement& measured = summary.contestants.at(contestant.name);
    json["messages_per_second"][contestant.name] = Rounded(measured.messages_per_second, 1);
    json["cpu_seconds_per_million"][contestant.name] =
        Rounded(measured.cpu_seconds_per_million, 100);
    json["peak_mb"][contestant.name] = Rounded(measured.peak_mb, 1);
  }
  json["all_arrived"] = is_exact;
  json["messages"] = options.task.messages;
  json["room"] = options.task.room;
  json["rounds"] = options.rounds;
  json["commit"] = options.commit;
  std::printf("%s\n", json.dump().c_str());
  return is_exact ? 0 : 1;
}

int Main(int argc, char** argv) {
  CLI::App app("What numbered, observed sending costs over librdkafka.", "once_bench_produce");
  app.require_subcommand(1);
  const once::testing::ScratchFolder scratch;
  Options options;
  options.task.messages = 1'000'000;
  options.task.folder = scratch.path();
  bool is_json = false;
  int code = 0;
  std::set<std::string> named;
  for (const Comparison& comparison : kComparisons) {
    CLI::App* command = app.add_subcommand(comparison.name, comparison.what);
    command->add_option("--brokers", options.task.brokers, "HOST:PORT[,…]")->required();
    command->add_option("--postgres", options.task.postgres, "a server; without it: none");
    command->add_option("--messages", options.task.messages, "messages of each turn")
        ->check(CLI::Range(1000, 100'000'000));
    command->add_option("--room", options.task.room, "messages without an answer, of each sender")
        ->check(CLI::Range(100, 10'000'000));
    command->add_option("--rounds", options.rounds)->check(CLI::Range(1, 100));
    command->add_option("--only", options.only, "these contestants, by commas")->delimiter(',');
    command->add_option("--commit", options.commit, "the commit that is measured");
    command->add_flag("--json", is_json, "as always: nothing but the JSON object and the progress");
    command->callback([&] { code = Run(comparison, options); });
    for (const Contestant& contestant : comparison.contestants) {
      if (!named.insert(contestant.name).second) continue;
      CLI::App* child = app.add_subcommand(contestant.name)->group("");  // for its own use
      child->add_option("--brokers", options.task.brokers);
      child->add_option("--topic", options.task.topic);
      child->add_option("--messages", options.task.messages);
      child->add_option("--room", options.task.room);
      child->add_option("--folder", options.task.folder);
      child->add_option("--postgres", options.task.postgres);
      child->callback([&options, contestant] {
        LimitChild();
        std::printf("%f", contestant.send(options.task));
      });
    }
  }
  CLI11_PARSE(app, argc, argv);
  return code;
}

}  // namespace
}  // namespace once::benchmark

int main(int argc, char** argv) {
  try {
    return once::benchmark::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "once_bench_produce: %s\n", error.what());
    return 1;
  }
}
