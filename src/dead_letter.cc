// Dead-letter envelopes: the original message plus once-* headers within a fixed budget.
#include "once/dead_letter.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "once/abseil.h"
#include "once/message_id.h"

namespace once {
namespace {

constexpr std::string_view kHeaderPrefix = "once-";
constexpr std::string_view kOriginPrefix = "once-origin-";
constexpr std::string_view kCutMark = "… (cut)";

// Ids and topics are bounded far below this; only a scope named by a user could be longer.
constexpr std::size_t kScopeBytesMax = 1024;

// Text for people: UTF-8 (RFC 3629) without control characters other than white space as it is,
// everything else in hexadecimal.
bool IsPlainText(std::string_view bytes) {
  std::size_t continuation = 0;
  // What the next continuation byte may be: narrower behind E0, ED, F0 and F4, which could begin
  // overlong forms, surrogates and what lies beyond U+10FFFF.
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_blank = byte == '\t' || byte == '\n' || byte == '\r';
    if (continuation > 0) {
      if (byte < low || byte > high) return false;
      low = 0x80;
      high = 0xBF;
      --continuation;
    } else if ((byte < 0x20 && !is_blank) || byte == 0x7F || (byte >= 0x80 && byte < 0xC2) ||
               byte > 0xF4) {
      return false;
    } else if (byte >= 0xF0) {
      continuation = 3;
      if (byte == 0xF0) low = 0x90;
      if (byte == 0xF4) high = 0x8F;
    } else if (byte >= 0xE0) {
      continuation = 2;
      if (byte == 0xE0) low = 0xA0;
      if (byte == 0xED) high = 0x9F;
    } else if (byte >= 0xC2) {
      continuation = 1;
    }
  }
  return continuation == 0;
}

std::string ToText(std::string_view bytes) {
  if (IsPlainText(bytes)) return std::string(bytes);
  return "hex:" + absl::BytesToHexString(ToAbsl(bytes));
}

std::string ToTimestamp(absl::Time time) {
  return absl::FormatTime(absl::RFC3339_full, time, absl::UTCTimeZone());
}

bool HasPrefix(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

class HeaderWriter {
 public:
  explicit HeaderWriter(std::vector<OwnedHeader>& headers) : headers_(headers) {}

  void Add(std::string_view name, std::string value) {
    bytes_ += kHeaderPrefix.size() + name.size() + value.size();
    headers_.push_back(
        {.name = std::string(kHeaderPrefix).append(name), .value = std::move(value)});
  }

  // As much of `value` as the budget still allows, cut at a UTF-8 boundary and marked as cut.
  void AddWithinBudget(std::string_view name, std::string value) {
    const std::size_t used = bytes_ + kHeaderPrefix.size() + name.size();
    const std::size_t room =
        used < kDeadLetterHeaderBytesMax ? kDeadLetterHeaderBytesMax - used : 0;
    if (value.size() > room) {
      std::size_t end = room > kCutMark.size() ? room - kCutMark.size() : 0;
      while (end > 0 && (static_cast<unsigned char>(value[end]) & 0xC0) == 0x80) --end;
      value.resize(end);
      if (room > kCutMark.size()) value.append(kCutMark);
    }
    Add(name, std::move(value));
  }

 private:
  std::vector<OwnedHeader>& headers_;
  std::size_t bytes_ = 0;
};

// Headers of the original without ours; an origin that is already there names the first one and
// stays (bounded: one of each name, each no longer than a topic name can be).
std::vector<OwnedHeader> KeepHeaders(const Message& message, std::vector<OwnedHeader>& origin) {
  constexpr std::size_t kOriginBytesMax = 256;
  std::vector<OwnedHeader> kept;
  for (OwnedHeader& header : CopyHeaders(message)) {
    if (!HasPrefix(header.name, kHeaderPrefix)) {
      kept.push_back(std::move(header));
    } else if (HasPrefix(header.name, kOriginPrefix) && header.value &&
               header.value->size() <= kOriginBytesMax) {
      std::erase_if(origin, [&](const OwnedHeader& other) { return other.name == header.name; });
      origin.push_back(std::move(header));
    }
  }
  return kept;
}

void AddOrigin(const Message& message, std::vector<OwnedHeader> former, HeaderWriter& writer) {
  const auto is_complete = [&] {
    const auto has = [&](std::string_view name) {
      return std::any_of(former.begin(), former.end(),
                         [&](const OwnedHeader& header) { return header.name == name; });
    };
    return has("once-origin-topic") && has("once-origin-partition") && has("once-origin-offset");
  };
  if (is_complete()) {
    for (const std::string_view name : {"topic", "partition", "offset", "timestamp"}) {
      const std::string full = std::string(kOriginPrefix).append(name);
      const auto header =
          std::find_if(former.begin(), former.end(),
                       [&](const OwnedHeader& candidate) { return candidate.name == full; });
      if (header != former.end()) {
        writer.Add("origin-" + std::string(name), ToText(*header->value));
      }
    }
    return;
  }
  writer.Add("origin-topic", std::string(message.topic()));
  writer.Add("origin-partition", std::to_string(message.partition()));
  writer.Add("origin-offset", std::to_string(message.offset()));
  if (message.timestamp_ms() >= 0) {
    writer.Add("origin-timestamp", std::to_string(message.timestamp_ms()));
  }
}

}  // namespace

std::string_view ToString(Disposition disposition) {
  switch (disposition) {
    case Disposition::kRejected:
      return "rejected";
    case Disposition::kRetriesExhausted:
      return "retries-exhausted";
    case Disposition::kConflict:
      return "conflict";
    case Disposition::kNoId:
      return "no-id";
    case Disposition::kInvalidId:
      return "invalid-id";
    case Disposition::kUncertain:
      return "uncertain";
    case Disposition::kExpired:
      return "expired";
    case Disposition::kManual:
      return "manual";
  }
  return "unknown";
}

OutgoingMessage MakeDeadLetter(const Message& message, const DeadLetterReason& reason,
                               std::string topic) {
  std::vector<OwnedHeader> origin;
  OutgoingMessage letter;
  letter.topic = std::move(topic);
  letter.headers = KeepHeaders(message, origin);
  if (message.key()) letter.key.emplace(*message.key());
  if (message.value()) letter.value.emplace(*message.value());

  HeaderWriter writer(letter.headers);
  writer.Add("disposition", std::string(ToString(reason.disposition)));
  if (!reason.id.empty()) writer.Add("id", ToText(reason.id.substr(0, kMessageIdBytesMax)));
  writer.Add("scope", ToText(reason.scope.substr(0, kScopeBytesMax)));
  writer.Add("attempt", std::to_string(reason.attempt));
  writer.Add("first-failed-at", ToTimestamp(reason.first_failed_at));
  writer.Add("last-failed-at", ToTimestamp(reason.last_failed_at));
  writer.Add("error-code", absl::StatusCodeToString(reason.error.code()));
  AddOrigin(message, std::move(origin), writer);
  writer.AddWithinBudget("error-message", ToText(ToStd(reason.error.message())));
  return letter;
}

OutgoingMessage MakeRedrive(const OutgoingMessage& letter, const TopicPartition& origin,
                            std::string_view redrive_id, int count) {
  OutgoingMessage redriven = letter;
  redriven.topic = origin.topic;
  redriven.partition = origin.partition;
  std::erase_if(redriven.headers, [](const OwnedHeader& header) {
    return HasPrefix(header.name, kHeaderPrefix) && !HasPrefix(header.name, kOriginPrefix);
  });
  HeaderWriter writer(redriven.headers);
  writer.Add("redrive-id", ToText(redrive_id));
  writer.Add("redrive-count", std::to_string(count));
  return redriven;
}

std::string DefaultDeadLetterTopic(std::string_view origin_topic, std::string_view group) {
  return std::string(origin_topic).append(".").append(group).append(".dlq");
}

}  // namespace once
