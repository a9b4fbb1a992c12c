// What was sent and what a topic holds, compared: the judge of campaigns about the sending side.
// Every message says in its value which one it is, so that nothing that the product writes (ids,
// numbers, partitions) is needed to recognise it.
// Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace once::campaign {

struct SentMessage {
  std::string key;
  std::int64_t number = 0;  // counts up within its key, in the order in which it was sent
  std::string name;         // no two messages have the same

  friend bool operator==(const SentMessage&, const SentMessage&) = default;
};

// The value of the message: "key number name".
std::string EncodeSent(const SentMessage& message);
// nullopt for bytes that EncodeSent does not give.
std::optional<SentMessage> DecodeSent(std::string_view value);

// One record of the topic.
struct StoredCopy {
  SentMessage message;
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  std::string id;     // its once-id
  std::string stamp;  // its once-seq
  // For people.
  std::int64_t time_ms = -1;
  std::int32_t leader_epoch = -1;  // -1: this client library does not tell
};

// What must have become of a message.
enum class Fate : std::uint8_t {
  kStored,    // somebody was told so: it must be there
  kNotStored  // somebody was told so: it must not be there
};

struct SentTruth {
  std::string topic;
  std::vector<StoredCopy> copies;  // by partition and offset
  // By name. Of a message that is not in here nobody knows.
  std::unordered_map<std::string, Fate> fates;
  // Whoever is in no book was never sent: it must not be there.
  bool is_complete = false;
  // A copy may have another number than the one before: it was sent directly, then by a relay.
  bool may_be_renumbered = false;
  // Numbers of a stream may be left out: their messages were given up.
  bool may_have_gaps = false;
};

struct SentJudgement {
  std::int64_t stored = 0;            // messages that are there
  std::int64_t missing = 0;           // of those that must be
  std::int64_t surplus = 0;           // there, and must not be
  std::int64_t order_inversions = 0;  // of first copies of a key
  std::int64_t repeats = 0;           // further copies
  std::int64_t unlike_ids = 0;        // further copies with another id: no consumer recognises them
  std::int64_t renumbered = 0;        // further copies with another number
  std::int64_t numbers_reused = 0;    // numbers that name two messages
  std::int64_t numbers_missing = 0;   // numbers of a stream below its greatest that no record has
  std::vector<std::string> missing_names;  // all of them, sorted
  // What is wrong, one sentence for each, of each kind a few.
  std::vector<std::string> findings;
};

SentJudgement JudgeSent(const SentTruth& truth);

}  // namespace once::campaign
