// Sizes, and sums of reports.
#include "tests/campaign/small_scene.h"

namespace once::campaign {

std::unique_ptr<Scene> MakeSmallScene(std::string_view campaign, const CampaignOptions& options,
                                      bool is_plain, bool is_durable) {
  const Workload workload{.seed = options.seed,
                          .messages = 150,
                          .partitions = 3,
                          .odd_one_in = 30,
                          .has_copies = is_durable};
  return std::make_unique<Scene>(campaign, options.brokers, workload,
                                 ConsumerTask{.store = is_durable ? "" : "memory",
                                              .is_plain = is_plain,
                                              .instance = "small",
                                              .hint_ms = 50,
                                              .retry_ms = 5,
                                              .batch_messages_max = 20,
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

}  // namespace once::campaign
