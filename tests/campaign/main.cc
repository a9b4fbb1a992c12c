// once_campaign NAME: runs one campaign against real systems and prints one JSON object to standard
// output, progress and witnesses to standard error. `./dev campaign` starts the broker and this.
// Exit codes: 0 passed; 1 something was lost, repeated or otherwise wrong; 2 it could not run; 77
// it needs a broker, and there is none; other codes are CLI11's, for wrong flags.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>

#include "CLI/CLI.hpp"
#include "src/test_hooks.h"
#include "tests/campaign/campaign.h"

namespace once::campaign {
namespace {

constexpr int kPassed = 0;
constexpr int kViolated = 1;
constexpr int kUnable = 2;
constexpr int kSkipped = 77;

struct Flags {
  CampaignOptions options;
  bool is_quick = false;
  bool is_json = false;
};

double SecondsSince(std::chrono::steady_clock::time_point begin) {
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
  return passed.count();
}

int RunCampaign(const Campaign& campaign, const Flags& flags) {
  CampaignOptions options = flags.options;
  const auto complete = [&flags](std::int64_t& number, std::int64_t full, std::int64_t quick) {
    if (number == 0) number = flags.is_quick ? quick : full;
  };
  complete(options.runs, campaign.runs, campaign.quick_runs);
  complete(options.size, campaign.size, campaign.quick_size);
  complete(options.outage_seconds, campaign.outage_seconds, campaign.quick_outage_seconds);
  if (campaign.needs_broker && options.brokers.empty()) {
    Say("it needs a broker: ONCE_TEST_KAFKA=host:port; ./dev kafka up prints one");
    return IsContinuousIntegration() ? kUnable : kSkipped;
  }
  if (const std::string why_not = campaign.why_not == nullptr ? "" : campaign.why_not();
      !why_not.empty()) {
    Say(why_not);
    return IsContinuousIntegration() ? kUnable : kSkipped;
  }
  const auto begin = std::chrono::steady_clock::now();
  const CampaignReport report = campaign.run(options);
  const double seconds = SecondsSince(begin);
  for (const std::string& violation : report.violations) Say("VIOLATION: " + violation);
  Json line = {{"campaign", campaign.name},
               {"runs", options.runs},
               {"messages", report.messages},
               {"lost", report.lost},
               {"duplicate_effects", report.duplicate_effects},
               {"refused", report.refused},
               {"violations", report.violations.size()},
               {"seconds", static_cast<double>(static_cast<std::int64_t>(seconds * 10)) / 10},
               {"seed", options.seed}};
  line.update(report.extras);
  if (!flags.is_json) Say(report.violations.empty() ? "passed" : "FAILED");
  std::printf("%s\n", line.dump().c_str());
  return report.violations.empty() ? kPassed : kViolated;
}

int Main(int argc, char** argv) {
  CLI::App app("Attacks on real systems, and whether anything was lost or repeated.",
               "once_campaign");
  Flags flags;
  const char* brokers = std::getenv("ONCE_TEST_KAFKA");
  if (brokers != nullptr) flags.options.brokers = brokers;
  app.require_subcommand(0, 1);
  for (const Campaign& campaign : Campaigns()) {
    CLI::App* command = app.add_subcommand(std::string(campaign.name), std::string(campaign.what));
    command->add_option("--runs", flags.options.runs, "how many attacks")
        ->check(CLI::Range(1, 1'000'000));
    command->add_option("--seed", flags.options.seed, "of the plan")->capture_default_str();
    command->add_option("--brokers", flags.options.brokers, "Kafka brokers, HOST:PORT[,…]");
    if (campaign.takes_only) {
      command->add_option("--only", flags.options.only,
                          "attacks with this in their name, repeated until there are --runs");
    }
    if (!campaign.size_flag.empty()) {
      command
          ->add_option(std::string(campaign.size_flag), flags.options.size, "how many altogether")
          ->check(CLI::Range(1, 100'000'000));
    }
    if (campaign.outage_seconds > 0) {
      command
          ->add_option("--outage-seconds", flags.options.outage_seconds,
                       "how long brokers are away at a time")
          ->check(CLI::Range(1, 3'600));
    }
    command->add_flag("--quick", flags.is_quick, "a few runs, as the tests do");
    command->add_flag("--json", flags.is_json, "nothing but the JSON object and the progress");
  }
  bool is_hunting = false;
  app.add_flag("--planted-bugs", is_hunting, "the campaign planted-bugs: {planted, caught, bugs}");
  app.add_flag("--json", flags.is_json, "as with a campaign");
  bool is_listing_points = false;
  app.add_flag("--kill-points", is_listing_points, "list the places where this program may die");
  CLI11_PARSE(app, argc, argv);
  if (is_listing_points) {
    for (const std::string& point : test_hooks::KillPoints()) std::printf("%s\n", point.c_str());
    return kPassed;
  }
  if (is_hunting) return RunCampaign(*FindCampaign("planted-bugs"), flags);
  if (app.get_subcommands().empty()) {
    std::fputs(app.help().c_str(), stderr);
    return kUnable;
  }
  return RunCampaign(*FindCampaign(app.get_subcommands().front()->get_name()), flags);
}

}  // namespace
}  // namespace once::campaign

int main(int argc, char** argv) {
  using namespace once::campaign;
  constexpr int kChildArguments = 4;  // once_campaign --consume NAME TASK
  try {
    if (argc == kChildArguments && std::string_view(argv[1]) == "--consume") {
      const Campaign* campaign = FindCampaign(argv[2]);
      if (campaign == nullptr || campaign->child == nullptr) return kUnable;
      return campaign->child(Json::parse(argv[3]));
    }
    return Main(argc, argv);
  } catch (const std::exception& error) {
    Say(error.what());
    return kUnable;
  }
}
