// Sizes, and sums of reports.
#include "tests/campaign/small_scene.h"

#include <map>
#include <set>
#include <string>

namespace once::campaign {
namespace {

constexpr int kMessagesPerBatch = 8;

// Every kind, a message without id, and with copies a conflict in another batch than its original,
// where only the store can tell.
bool HasEverything(const Workload& workload) {
  struct First {
    std::string value;
    std::int64_t place = 0;
  };
  std::set<char> kinds;
  std::map<std::string, First> firsts;
  bool has_nameless = false;
  bool has_conflict = !workload.has_copies;
  std::int64_t place = -1;
  for (const OutgoingMessage& message : MessagesOf(workload, "any", 0, workload.messages)) {
    ++place;
    kinds.insert(*KindOf(*message.value));
    if (message.headers.empty()) {
      has_nameless = true;
      continue;
    }
    const auto [first, is_new] =
        firsts.try_emplace(*message.headers[0].value, First{*message.value, place});
    const bool is_far = place - first->second.place > kMessagesPerBatch * workload.partitions;
    has_conflict = has_conflict || (is_far && first->second.value != *message.value);
  }
  constexpr std::size_t kKinds = 5;
  return kinds.size() == kKinds && has_nameless && has_conflict;
}

}  // namespace

std::unique_ptr<Scene> MakeSmallScene(std::string_view campaign, const CampaignOptions& options,
                                      bool is_plain, const std::string& store) {
  Workload workload{.seed = options.seed,
                    .messages = 150,
                    .partitions = 3,
                    .odd_one_in = 30,
                    .has_copies = store != "memory"};
  while (!HasEverything(workload)) ++workload.seed;
  // A static member whose session times out on a busy machine may be fenced by its own return, and
  // must then end. Whoever comes after it has its name, and does not wait for the session's end.
  constexpr int kSessionMs = 30'000;
  return std::make_unique<Scene>(campaign, options.brokers, workload,
                                 ConsumerTask{.store = store,
                                              .is_plain = is_plain,
                                              .instance = "small",
                                              .session_ms = kSessionMs,
                                              .poll_interval_ms = kSessionMs,
                                              .hint_ms = 50,
                                              .retry_ms = 5,
                                              .batch_messages_max = kMessagesPerBatch,
                                              .invocations_per_beat = 1});
}

void Add(const CampaignReport& report, CampaignReport& total) {
  total.messages += report.messages;
  total.lost += report.lost;
  total.duplicate_effects += report.duplicate_effects;
  total.refused += report.refused;
  total.violations.insert(total.violations.end(), report.violations.begin(),
                          report.violations.end());
  for (const auto& [name, number] : report.extras.items()) {
    total.extras[name] = total.extras.value(name, std::int64_t{0}) + number.get<std::int64_t>();
  }
}

void NoteWrong(const std::string& what, const CampaignReport& found, CampaignReport& report) {
  Json& caught = report.extras["wrong_caught"];
  caught = (caught.is_null() ? 0 : caught.get<std::int64_t>()) + (found.violations.empty() ? 0 : 1);
  if (found.violations.empty()) return report.violations.push_back(what + " is not found out");
  constexpr std::size_t kShown = 200;
  Say(absl::StrCat(what, " is found out: ", found.violations.front().substr(0, kShown)));
}

}  // namespace once::campaign
