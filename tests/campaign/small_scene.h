// A small scene with everything in it: copies, retries, rejections, exhaustion, conflicts, missing
// ids, skips, in batches so small that a life has many of them.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tests/campaign/scene.h"

namespace once::campaign {

// `store`: as ConsumerTask has it; empty: an SQLite file. "memory": no message that only a store
// that remembers can tell.
// The workload is of the first seed from that of the options on that gives each of these.
std::unique_ptr<Scene> MakeSmallScene(std::string_view campaign, const CampaignOptions& options,
                                      bool is_plain, const std::string& store = "");

// The sum of both in `total`.
void Add(const CampaignReport& report, CampaignReport& total);

// `found`: what the attacks have found while `what` was wrong. Nothing: a violation.
void NoteWrong(const std::string& what, const CampaignReport& found, CampaignReport& report);

}  // namespace once::campaign
