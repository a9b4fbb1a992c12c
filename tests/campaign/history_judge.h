// The part of the checker that looks through histories: what the end alone does not show.
#pragma once

#include <string>
#include <vector>

#include "tests/campaign/checker.h"

namespace once::campaign {

// Adds findings of "acknowledged", "attempts" and "announced", and counts refusals and invocations.
void JudgeHistories(const Truth& truth, const std::vector<std::string>& histories,
                    Judgement& judgement);

}  // namespace once::campaign
