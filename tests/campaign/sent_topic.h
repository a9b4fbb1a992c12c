// What a topic holds of a campaign's numbered messages, read by a raw client of its own.
#pragma once

#include <string>
#include <vector>

#include "adapters/kafka/tests/kafka_test_broker.h"
#include "tests/campaign/campaign.h"
#include "tests/campaign/sent_judge.h"

namespace once::campaign {

// By partition and offset, from the beginning. Throws where somebody else has written into it.
std::vector<StoredCopy> ReadCopies(kafka::testing::TestBroker& broker, const std::string& topic);

// Adds the findings as violations, each behind `label`, and what they concern to `report`.
void AddSent(const SentJudgement& judgement, const std::string& label, CampaignReport& report);

}  // namespace once::campaign
