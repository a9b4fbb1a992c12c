// A campaign attacks real systems many times over (kill -9, SIGSTOP, SIGTERM, a full disk …) and
// then reads from those systems whether anything was lost or repeated. Every campaign is one entry
// of Campaigns() and one file, <name>_campaign.cc; `./dev campaign NAME` runs it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace once::campaign {

using Json = nlohmann::ordered_json;

struct CampaignOptions {
  std::int64_t runs = 0;   // attacks: kills, stops, …
  std::uint64_t seed = 1;  // the same seed gives the same plan, though not the same timing
  std::string brokers;     // host:port; empty where the campaign needs no broker
  // Attacks whose label has this in it, again and again until there are `runs` of them; empty: all.
  // Of campaigns that take it.
  std::string only;
  // How much there is altogether, in units that the campaign names (Campaign::size_flag).
  std::int64_t size = 0;
  std::int64_t outage_seconds = 0;  // how long brokers are away
};

struct CampaignReport {
  std::int64_t messages = 0;
  std::int64_t lost = 0;
  std::int64_t duplicate_effects = 0;
  std::int64_t refused = 0;  // attempts of former owners to write that a store or broker refused
  // What is wrong, one sentence each, followed by the history that shows it. Empty: passed.
  std::vector<std::string> violations;
  Json extras = Json::object();  // further figures of this campaign
};

struct Campaign {
  std::string_view name;
  std::string_view what;  // one line for --help
  std::int64_t runs = 0;  // without --runs
  // With --quick, as ctest runs it: seconds rather than minutes.
  std::int64_t quick_runs = 0;
  bool needs_broker = true;
  bool takes_only = false;
  // "--rows", say, of campaigns that take CampaignOptions::size; without the flag `size`, with
  // --quick `quick_size`.
  std::string_view size_flag = "";
  std::int64_t size = 0;
  std::int64_t quick_size = 0;
  // Likewise of those that take --outage-seconds; 0: this one does not.
  std::int64_t outage_seconds = 0;
  std::int64_t quick_outage_seconds = 0;
  // Why this machine cannot run it; null, or empty: it can.
  std::string (*why_not)() = nullptr;
  CampaignReport (*run)(const CampaignOptions&) = nullptr;
  // What a process does that the campaign starts as testing::Child({name, task.dump()}); its exit
  // code. Null: it starts none.
  int (*child)(const Json& task) = nullptr;
};

// All of them, in the order in which --help lists them.
const std::vector<Campaign>& Campaigns();
const Campaign* FindCampaign(std::string_view name);

// Whether CI is set, to 1 or true: then what this machine cannot do fails instead of being skipped.
bool IsContinuousIntegration();

// Progress, for people: one line on standard error.
void Say(const std::string& line);

}  // namespace once::campaign
