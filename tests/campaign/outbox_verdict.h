// What an outbox campaign says at its end: the topic, compared with the books.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "adapters/kafka/tests/kafka_test_broker.h"
#include "tests/campaign/campaign.h"
#include "tests/campaign/outbox_places.h"
#include "tests/campaign/outbox_process.h"

namespace once::campaign {

// From so many kills on, a place that no life comes to is a gap in the campaign.
inline constexpr std::int64_t kKillsForEveryPlace = 100;

void AddFigure(CampaignReport& report, std::string_view figure, std::int64_t number);

// Whoever was told that a row is committed must find it in the books, and the topic must hold what
// is in there: all of it, nothing else, in the order of commits. REQUIRES: nobody has the store
// open.
void JudgeOutbox(const OutboxTask& task, kafka::testing::TestBroker& broker,
                 const std::string& label, CampaignReport& report);
// Where the lives have ended; from kKillsForEveryPlace `kills` on, every place must be among them.
void JudgePlaces(const OutboxPlaces& places, std::int64_t kills, const std::string& label,
                 CampaignReport& report);

// Topic and side topic.
void DeleteTopics(kafka::testing::TestBroker& broker, const std::string& topic);

}  // namespace once::campaign
