// The stream's bytes are compared with the last message's before anything is decoded.
#include "src/stamp_reader.h"

#include <charconv>

#include "once/abseil.h"
#include "once/sequence.h"
#include "src/stream_table.h"

namespace once {
namespace {

constexpr char kFromOutbox = 'o';
constexpr char kDirect = 'd';

// The number of a stamp, and the bytes behind it, which name the stream; not looked at further.
struct SplitStamp {
  std::uint64_t number = 0;
  std::string_view stream;
};
std::optional<SplitStamp> Split(std::string_view stamp) {
  constexpr std::size_t kNumberAt = 2;
  const bool has_origin = stamp.size() > kNumberAt && stamp[1] == '/' &&
                          (stamp.front() == kDirect || stamp.front() == kFromOutbox);
  if (!has_origin || stamp[kNumberAt] == '0') return std::nullopt;
  SplitStamp split;
  const char* const begin = stamp.data() + kNumberAt;
  const char* const end = stamp.data() + stamp.size();
  const auto [at, error] = std::from_chars(begin, end, split.number);
  if (error != std::errc() || at == end || *at != '/') return std::nullopt;
  split.stream = {at + 1, static_cast<std::size_t>(end - at - 1)};
  return split;
}

}  // namespace

void StampReader::Begin() {
  names_.clear();
  texts_.clear();
  last_text_ = {};
}

std::optional<StampReader::Stamped> StampReader::Read(const Message& message) {
  const std::optional<Header> header = message.FindHeader(kSequenceHeader);
  if (!header || !header->value) return std::nullopt;
  const std::optional<SplitStamp> split = Split(*header->value);
  if (!split) return std::nullopt;
  const Stamped stamped{.number = split->number,
                        .is_from_outbox = header->value->front() == kFromOutbox};
  if (!last_text_.empty() && split->stream == last_text_) {
    return Stamped{last_, stamped.number, stamped.is_from_outbox};
  }
  const auto known = texts_.find(ToAbsl(split->stream));
  if (known != texts_.end()) {
    last_ = known->second;
  } else {
    const std::optional<SequenceStamp> stamp =
        DecodeStamp(*header->value, message.topic(), message.partition());
    if (!stamp) return std::nullopt;
    last_ = names_.size();
    names_.push_back(PackStream(stamp->by));
    texts_.emplace(stamp->stream, last_);
  }
  last_text_ = split->stream;
  return Stamped{last_, stamped.number, stamped.is_from_outbox};
}

}  // namespace once
