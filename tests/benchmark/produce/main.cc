// once_bench_produce: sends to a real broker in several ways in turns, each in a process of its own
// and to a topic of its own, checks that everything has arrived, and prints one JSON object to
// standard output. `./dev bench produce` starts the broker and this. Exit codes: 0 done; 1 messages
// are missing or a sender failed; other codes are CLI11's, for wrong flags.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "once/sequence.h"
#include "tests/benchmark/child.h"
#include "tests/benchmark/produce/senders.h"
#include "tests/benchmark/report.h"
#include "tests/benchmark/topic.h"

namespace once::benchmark {
namespace {

using nlohmann::ordered_json;

struct Contestant {
  const char* name;
  double (*send)(const SendTask&);
  bool is_stamped = false;
};

constexpr std::array kContestants = {
    Contestant{"raw", &SendRaw}, Contestant{"unstamped", &SendUnstamped},
    Contestant{"stamped", &SendStamped, true}, Contestant{"tickets", &SendWithTickets, true}};

const std::vector<Ratio> kRatios = {{"unstamped_to_raw", "unstamped", "raw"},
                                    {"stamped_to_raw", "stamped", "raw"},
                                    {"tickets_to_raw", "tickets", "raw"}};

struct Options {
  SendTask task;
  int rounds = 5;
  std::string commit;
};

double Rounded(double value, double parts) { return std::round(value * parts) / parts; }

Measurement RunContestant(const Contestant& contestant, const Options& options, int round,
                          bool& is_exact) {
  SendTask task = options.task;
  task.topic = "once-bench-" + std::to_string(getpid()) + "-" + contestant.name + "-" +
               std::to_string(round);
  CreateTopic(task.brokers, task.topic);
  const std::vector<std::string> words = {contestant.name,
                                          "--brokers",
                                          task.brokers,
                                          "--topic",
                                          task.topic,
                                          "--messages",
                                          std::to_string(task.messages)};
  const ChildResult child = RunSelf(words);
  const std::string wrong = FindWrongRecords(task, contestant.is_stamped);
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

int Run(const Options& options) {
  bool is_exact = true;
  std::vector<Round> rounds;
  // Round 0 warms the broker and is not counted.
  for (int number = 0; number <= options.rounds; ++number) {
    std::vector<Contestant> order(kContestants.begin(), kContestants.end());
    if (number % 2 == 0) std::reverse(order.begin(), order.end());
    Round round;
    for (const Contestant& contestant : order) {
      round[contestant.name] = RunContestant(contestant, options, number, is_exact);
    }
    if (number > 0) rounds.push_back(round);
  }
  const Summary summary = Summarize(rounds, kRatios);
  ordered_json json;
  for (const auto& [name, ratio] : summary.ratios) json["ratios"][name] = Rounded(ratio, 1000);
  for (const Contestant& contestant : kContestants) {
    const Measurement& measured = summary.contestants.at(contestant.name);
    json["messages_per_second"][contestant.name] = Rounded(measured.messages_per_second, 1);
    json["cpu_seconds_per_million"][contestant.name] =
        Rounded(measured.cpu_seconds_per_million, 100);
    json["peak_mb"][contestant.name] = Rounded(measured.peak_mb, 1);
  }
  json["all_arrived"] = is_exact;
  json["messages"] = options.task.messages;
  json["rounds"] = options.rounds;
  json["commit"] = options.commit;
  std::printf("%s\n", json.dump().c_str());
  return is_exact ? 0 : 1;
}

int Main(int argc, char** argv) {
  CLI::App app("What numbered, observed sending costs over librdkafka.", "once_bench_produce");
  app.require_subcommand(1);
  Options options;
  options.task.messages = 1'000'000;
  CLI::App* produce = app.add_subcommand("produce", "all of them in turns");
  produce->add_option("--brokers", options.task.brokers, "HOST:PORT[,…]")->required();
  produce->add_option("--messages", options.task.messages, "messages of each turn")
      ->check(CLI::Range(1000, 100'000'000));
  produce->add_option("--rounds", options.rounds)->check(CLI::Range(1, 100));
  produce->add_option("--commit", options.commit, "the commit that is measured, for the output");
  bool is_json = false;
  produce->add_flag("--json", is_json, "as always: nothing but the JSON object and the progress");
  int code = 0;
  produce->callback([&] { code = Run(options); });
  for (const Contestant& contestant : kContestants) {
    CLI::App* command = app.add_subcommand(contestant.name)->group("");  // for its own use
    command->add_option("--brokers", options.task.brokers);
    command->add_option("--topic", options.task.topic);
    command->add_option("--messages", options.task.messages);
    command->callback([&options, contestant] {
      LimitChild();
      std::printf("%f", contestant.send(options.task));
    });
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
