// Records as the judge wants them.
#include "tests/campaign/sent_topic.h"

#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "once/id_extractor.h"
#include "once/sequence.h"

namespace once::campaign {
namespace {

std::int32_t LeaderEpochOf([[maybe_unused]] const rd_kafka_message_t& record) {
#if RD_KAFKA_VERSION >= 0x020100ff
  return rd_kafka_message_leader_epoch(&record);
#else
  return -1;
#endif
}

}  // namespace

std::vector<StoredCopy> ReadCopies(kafka::testing::TestBroker& broker, const std::string& topic) {
  const std::string id_header(kProducerIdHeader);
  const std::string stamp_header(kSequenceHeader);
  std::vector<StoredCopy> copies;
  broker.ReadTopic(topic, [&](const rd_kafka_message_t& record) {
    const auto message = DecodeSent({static_cast<const char*>(record.payload), record.len});
    if (!message) {
      throw std::runtime_error(absl::StrCat("foreign bytes in ", topic, " at ", record.offset));
    }
    copies.push_back({.message = *message,
                      .partition = record.partition,
                      .offset = record.offset,
                      .id = broker.HeaderOf(record, id_header.c_str()).value_or(""),
                      .stamp = broker.HeaderOf(record, stamp_header.c_str()).value_or(""),
                      .time_ms = rd_kafka_message_timestamp(&record, nullptr),
                      .leader_epoch = LeaderEpochOf(record)});
  });
  return copies;
}

void AddSent(const SentJudgement& judgement, const std::string& label, CampaignReport& report) {
  report.messages += judgement.stored;
  report.lost += judgement.missing;
  report.duplicate_effects += judgement.unlike_ids;
  for (const std::string& finding : judgement.findings) {
    report.violations.push_back(absl::StrCat(label, ": ", finding));
  }
}

}  // namespace once::campaign
