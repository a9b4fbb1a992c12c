// Dead letters: what happens to a message that must not be handled, or has failed for good. Key,
// value and every header are kept; headers of ours, all named once-*, say what happened. They are
// for people: decisions come from the store, so a forged header does nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/message.h"
#include "once/position.h"
#include "once/publisher.h"
#include "once/retry.h"

namespace once {

// All once-* headers of one letter together stay below this; the error message is what gives way.
inline constexpr std::size_t kDeadLetterHeaderBytesMax = 8 * 1024;

// "rejected", "retries-exhausted", "conflict", "no-id", "invalid-id", "uncertain", "expired",
// "manual": the values of the header once-disposition.
std::string_view ToString(Disposition disposition);

struct DeadLetterReason {
  Disposition disposition = Disposition::kRejected;
  std::string_view id;  // empty when there is none
  std::string_view scope;
  int attempt = 0;  // handler invocations so far
  absl::Time first_failed_at;
  absl::Time last_failed_at;
  absl::Status error;
};

// The letter for `message`: original key, value and headers, with once-id, once-scope,
// once-attempt, once-first-failed-at, once-last-failed-at, once-error-code, once-error-message,
// once-origin-{topic,partition,offset,timestamp} and once-disposition written by replacing. An
// origin that is there already (a letter that failed again) is kept: it names the first one. Times
// are RFC 3339, UTC. Bytes that are not UTF-8 text are written as "hex:…".
OutgoingMessage MakeDeadLetter(const Message& message, const DeadLetterReason& reason,
                               std::string topic);

// What a redrive publishes: the letter without what was said about its failure, to the partition
// the message came from, with the headers once-redrive-id and once-redrive-count.
OutgoingMessage MakeRedrive(const OutgoingMessage& letter, const TopicPartition& origin,
                            std::string_view redrive_id, int count);

using DeadLetterTopicFunction =
    std::function<std::string(std::string_view origin_topic, std::string_view group)>;

// "<topic>.<group>.dlq"
std::string DefaultDeadLetterTopic(std::string_view origin_topic, std::string_view group);

// Where letters go. A consumer without a publisher here stops the partition at the first message
// that would need one: nothing is lost, and nothing passes it.
struct DeadLetterSink {
  std::shared_ptr<Publisher> publisher;
  DeadLetterTopicFunction topic = DefaultDeadLetterTopic;
};

}  // namespace once
