// The names of an id's states, and what may be published.
#include "once/transaction.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/sequence.h"

namespace once {
namespace {

constexpr std::size_t kTopicBytesMax = 249;  // Kafka's own bound

bool IsTopicName(std::string_view topic) {
  const auto is_legal = [](char byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '.' || byte == '_' || byte == '-';
  };
  return !topic.empty() && topic.size() <= kTopicBytesMax && topic != "." && topic != ".." &&
         std::all_of(topic.begin(), topic.end(), is_legal);
}

absl::Status Refuse(const OutgoingMessage& message, std::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("publish to \"", message.topic, "\": ", ToAbsl(why)));
}

}  // namespace

absl::Status Transaction::Publish(const OutgoingMessage& message) {
  return absl::UnimplementedError(absl::StrCat(
      "publish to \"", message.topic,
      "\": this store has no log of outgoing messages; use SQLite, RocksDB or PostgreSQL"));
}

absl::Status ValidateOutgoing(const OutgoingMessage& message) {
  if (!IsTopicName(message.topic)) {
    return Refuse(message, "a topic's name has 1 to 249 letters, digits and ._-");
  }
  if (MarkedTopic(message.topic)) return Refuse(message, "the topic holds marks of another one");
  if (message.partition && *message.partition < 0) return Refuse(message, "a negative partition");
  for (const OwnedHeader& header : message.headers) {
    if (header.name == kSequenceHeader) {
      return Refuse(message, "the header once-seq is written by the relay");
    }
  }
  if (SizeBytes(message) > kOutgoingBytesMax) {
    return Refuse(message, "more than 64 MiB; store it elsewhere and publish where");
  }
  return absl::OkStatus();
}

std::string_view ToString(IdState state) {
  switch (state) {
    case IdState::kAbsent:
      return "absent";
    case IdState::kCompleted:
      return "completed";
    case IdState::kRetrying:
      return "retrying";
    case IdState::kDead:
      return "dead";
    case IdState::kDiscarded:
      return "discarded";
    case IdState::kUncertain:
      return "uncertain";
    case IdState::kClaimed:
      return "claimed";
    case IdState::kDying:
      return "dying";
  }
  return "unknown";
}

}  // namespace once
