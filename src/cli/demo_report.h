// What the demonstration says in the end: one JSON object, or a summary for people. Pure.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "src/cli/demo.h"

namespace once::demo {

// {"messages":…,"unique_ids":…,"effects":…,"lost":…,"duplicate_effects":…,
//  "duplicates_suppressed":…,"retried":…,"dead_lettered":…,"conflicts":…,"kills":…,
//  "guarantee":"…","messages_per_second":…}
//
// kills are those in the middle of a batch, KillRecord::mid_batch; the other numbers are explained
// in Findings.
std::string RenderJson(const DemoResult& result);

// {"error":{"code":"…","message":"…"}}: what stands in its place when there is no result.
std::string RenderJsonError(const absl::Status& error);

// Several lines; with `is_coloured` the verdict stands out.
std::string RenderSummary(const DemoResult& result, bool is_coloured);

}  // namespace once::demo
