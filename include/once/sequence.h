// Sequence stamps: what a producer writes on every record so that a consumer can tell which ones
// are missing. A stream is (producer id, producer epoch, topic, partition); its records carry 1, 2,
// 3 … in the order in which they were accepted. A number never means two messages: whoever cannot
// be sure where it stopped begins a new epoch.
//
// The stamp is the header `once-seq`, of ASCII:
//   <origin>/<sequence>/<partition>/<topic>/<epoch>/<producer>
//   d/42/3/325e96ec/18c5f0a2b3d4e5f6/shop-1
//     origin     d: sent directly; o: through an outbox, so that the same message always has the
//                same number
//     sequence   decimal, without leading zeros; partition: likewise
//     topic      FNV-1a (32 bits) of the topic's name, 8 hex digits: a copy in another topic, such
//                as a dead letter, is not of the stream, nor is one in another partition
//     epoch      64 bits, 16 hex digits; producer: ValidateProducerId
//
// What a stamp cannot say is said in a side topic, `<topic>.once-marks`, where other consumers
// never meet it: a mark, how far a stream had come, so that a lost tail shows; a void, numbers that
// were given and whose messages the producer has given up, as it has told whoever sent them. Source
// of the protocol: docs/loss-detection.md.
//
// Pure functions, safe for concurrent use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace once {

inline constexpr std::string_view kSequenceHeader = "once-seq";
inline constexpr std::size_t kProducerIdBytesMax = 64;
// Longest stamp that EncodeStamp writes; longer ones are none.
inline constexpr std::size_t kStampBytesMax =
    2 + 20 + 1 + 10 + 1 + 8 + 1 + 16 + 1 + kProducerIdBytesMax;

// OK for 1 to kProducerIdBytesMax letters, digits and `._:-`; else kInvalidArgument, which says so.
absl::Status ValidateProducerId(std::string_view producer);

// One incarnation of a producer. Views: as long as what they were taken from.
struct ProducerEpoch {
  std::string_view producer;
  std::uint64_t epoch = 0;

  friend auto operator<=>(const ProducerEpoch&, const ProducerEpoch&) = default;
};

struct SequenceStamp {
  ProducerEpoch by;
  bool is_from_outbox = false;
  std::uint64_t sequence = 0;  // from 1
  // Everything behind the number, "3/325e96ec/18c5f0a2b3d4e5f6/shop-1": the stream's name. Two
  // stamps in one partition are of one stream exactly when these bytes are equal.
  std::string_view stream;
};

// "3/325e96ec/18c5f0a2b3d4e5f6/shop-1". REQUIRES: ValidateProducerId(by.producer); partition >= 0.
std::string StreamName(std::string_view topic, std::int32_t partition, const ProducerEpoch& by);

// REQUIRES: `stream` is from StreamName; sequence > 0.
std::string EncodeStamp(std::string_view stream, std::uint64_t sequence, bool is_from_outbox);
// The same into `buffer`, of which it returns the used part.
std::string_view EncodeStamp(std::string_view stream, std::uint64_t sequence, bool is_from_outbox,
                             char (&buffer)[kStampBytesMax]);

// nullopt: none that EncodeStamp writes, or not of this topic and partition. The views point into
// `value`.
std::optional<SequenceStamp> DecodeStamp(std::string_view value, std::string_view topic,
                                         std::int32_t partition);

// Where the marks and voids of a topic are.
std::string MarksTopic(std::string_view topic);
// The topic whose marks are in `marks_topic`; nullopt: it is no such topic.
std::optional<std::string_view> MarkedTopic(std::string_view marks_topic);

// How far a stream has come: every number up to `last` was acknowledged or is declared void.
struct StreamMark {
  std::uint64_t last = 0;
  // The offset of its last acknowledged record, of those up to `last` the greatest: a consumer that
  // has passed it has seen them all, or never will.
  std::int64_t last_offset = 0;
  // The same of the first one, the least: where a consumer that began at or before it must have
  // seen number 1.
  std::int64_t first_offset = 0;

  friend bool operator==(const StreamMark&, const StreamMark&) = default;
};

// Numbers whose messages were given up: they may be missing.
struct StreamVoid {
  std::uint64_t first = 0;
  std::uint64_t last = 0;

  friend bool operator==(const StreamVoid&, const StreamVoid&) = default;
};

// A record of the side topic: its key is the stream's name for marks, so that the topic may be
// compacted, and the name, a slash and the first number for voids.
struct MarkRecord {
  std::string key;
  std::string value;
};
// REQUIRES: `stream` is from StreamName; 0 < first <= last; 0 <= first_offset <= last_offset.
MarkRecord EncodeMark(std::string_view stream, const StreamMark& mark);
MarkRecord EncodeVoid(std::string_view stream, const StreamVoid& gone);

// Exactly one of the two is set.
struct DecodedMark {
  ProducerEpoch by;
  std::int32_t partition = 0;
  std::string_view stream;
  std::optional<StreamMark> mark = std::nullopt;
  std::optional<StreamVoid> gone = std::nullopt;
};
// nullopt: nothing that EncodeMark or EncodeVoid writes, or not of this topic. The views point into
// `key`.
std::optional<DecodedMark> DecodeMark(std::string_view key, std::string_view value,
                                      std::string_view topic);

}  // namespace once
