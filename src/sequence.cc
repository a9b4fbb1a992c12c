// Stamps, marks and voids as ASCII.
#include "once/sequence.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once {
namespace {

constexpr std::string_view kMarksSuffix = ".once-marks";
constexpr std::size_t kTopicDigits = 8;
constexpr std::size_t kEpochDigits = 16;

bool IsProducerByte(char byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
         (byte >= '0' && byte <= '9') || byte == '.' || byte == '_' || byte == ':' || byte == '-';
}

// Source: the FNV hash, https://datatracker.ietf.org/doc/html/draft-eastlake-fnv
std::uint32_t Fnv1a(std::string_view bytes) {
  std::uint32_t hash = 2166136261U;
  for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 16777619U;
  return hash;
}

template <std::size_t kDigits>
std::array<char, kDigits> Hex(std::uint64_t number) {
  std::array<char, kDigits> digits{};
  for (std::size_t i = kDigits; i-- > 0; number >>= 4) digits[i] = "0123456789abcdef"[number & 15];
  return digits;
}

// Takes the bytes before the next slash and the slash; nullopt: there is none.
std::optional<std::string_view> TakeField(std::string_view& text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const std::string_view field = text.substr(0, slash);
  text.remove_prefix(slash + 1);
  return field;
}

// One spelling only: no sign, no leading zero.
template <typename Int>
bool ParseDecimal(std::string_view text, Int& number) {
  if (text.empty() || (text.size() > 1 && text.front() == '0') || text.front() == '-') return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

bool ParseHex(std::string_view text, std::size_t digits, std::uint64_t& number) {
  const auto is_digit = [](char byte) {
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');
  };
  if (text.size() != digits || !std::all_of(text.begin(), text.end(), is_digit)) return false;
  return std::from_chars(text.data(), text.data() + text.size(), number, 16).ec == std::errc();
}

struct Stream {
  std::int32_t partition = 0;
  ProducerEpoch by;
};

std::optional<Stream> ParseStream(std::string_view text, std::string_view topic) {
  Stream stream;
  const std::optional<std::string_view> partition = TakeField(text);
  const std::optional<std::string_view> hash = TakeField(text);
  const std::optional<std::string_view> epoch = TakeField(text);
  std::uint64_t topic_hash = 0;
  if (!epoch || !ParseDecimal(*partition, stream.partition) ||
      !ParseHex(*hash, kTopicDigits, topic_hash) || topic_hash != Fnv1a(topic) ||
      !ParseHex(*epoch, kEpochDigits, stream.by.epoch) || !ValidateProducerId(text).ok()) {
    return std::nullopt;
  }
  stream.by.producer = text;
  return stream;
}

char* Append(char* to, std::string_view bytes) {
  std::memcpy(to, bytes.data(), bytes.size());
  return to + bytes.size();
}

}  // namespace

absl::Status ValidateProducerId(std::string_view producer) {
  if (producer.empty() || producer.size() > kProducerIdBytesMax ||
      !std::all_of(producer.begin(), producer.end(), IsProducerByte)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a producer id has 1 to ", kProducerIdBytesMax, " letters, digits and any of `._:-`; this ",
        "one has ", producer.size(), " bytes, or another character"));
  }
  return absl::OkStatus();
}

std::string StreamName(std::string_view topic, std::int32_t partition, const ProducerEpoch& by) {
  const auto hash = Hex<kTopicDigits>(Fnv1a(topic));
  const auto epoch = Hex<kEpochDigits>(by.epoch);
  std::string name = std::to_string(partition);
  name += '/';
  name.append(hash.data(), hash.size());
  name += '/';
  name.append(epoch.data(), epoch.size());
  name += '/';
  name += by.producer;
  return name;
}

std::string_view EncodeStamp(std::string_view stream, std::uint64_t sequence, bool is_from_outbox,
                             char (&buffer)[kStampBytesMax]) {
  assert(sequence > 0);
  char* end = buffer;
  *end++ = is_from_outbox ? 'o' : 'd';
  *end++ = '/';
  end = std::to_chars(end, buffer + kStampBytesMax, sequence).ptr;
  *end++ = '/';
  const auto room = static_cast<std::size_t>(buffer + kStampBytesMax - end);
  assert(stream.size() <= room);
  end = Append(end, stream.substr(0, room));
  return {buffer, static_cast<std::size_t>(end - buffer)};
}

std::string EncodeStamp(std::string_view stream, std::uint64_t sequence, bool is_from_outbox) {
  char buffer[kStampBytesMax];
  return std::string(EncodeStamp(stream, sequence, is_from_outbox, buffer));
}

std::optional<SequenceStamp> DecodeStamp(std::string_view value, std::string_view topic,
                                         std::int32_t partition) {
  if (value.size() > kStampBytesMax) return std::nullopt;
  const std::optional<std::string_view> origin = TakeField(value);
  const std::optional<std::string_view> number = TakeField(value);
  SequenceStamp stamp{.stream = value};
  if (!number || (*origin != "d" && *origin != "o") || !ParseDecimal(*number, stamp.sequence) ||
      stamp.sequence == 0) {
    return std::nullopt;
  }
  const std::optional<Stream> stream = ParseStream(value, topic);
  if (!stream || stream->partition != partition) return std::nullopt;
  stamp.is_from_outbox = *origin == "o";
  stamp.by = stream->by;
  return stamp;
}

std::string MarksTopic(std::string_view topic) { return std::string(topic).append(kMarksSuffix); }

std::optional<std::string_view> MarkedTopic(std::string_view marks_topic) {
  if (marks_topic.size() <= kMarksSuffix.size() || !marks_topic.ends_with(kMarksSuffix)) {
    return std::nullopt;
  }
  return marks_topic.substr(0, marks_topic.size() - kMarksSuffix.size());
}

MarkRecord EncodeMark(std::string_view stream, const StreamMark& mark) {
  assert(mark.last > 0 && mark.first_offset >= 0 && mark.first_offset <= mark.last_offset);
  return {.key = std::string(stream),
          .value = absl::StrCat("mark/", mark.last, "/", mark.last_offset, "/", mark.first_offset)};
}

MarkRecord EncodeVoid(std::string_view stream, const StreamVoid& gone) {
  assert(gone.first > 0 && gone.first <= gone.last);
  return {.key = absl::StrCat(ToAbsl(stream), "/", gone.first),
          .value = absl::StrCat("void/", gone.first, "/", gone.last)};
}

std::optional<DecodedMark> DecodeMark(std::string_view key, std::string_view value,
                                      std::string_view topic) {
  const std::optional<std::string_view> kind = TakeField(value);
  const std::optional<std::string_view> first = TakeField(value);
  if (!first) return std::nullopt;
  DecodedMark decoded;
  if (*kind == "mark") {
    StreamMark mark;
    const std::optional<std::string_view> last_offset = TakeField(value);
    if (!last_offset || !ParseDecimal(*first, mark.last) || mark.last == 0 ||
        !ParseDecimal(*last_offset, mark.last_offset) || !ParseDecimal(value, mark.first_offset) ||
        mark.first_offset > mark.last_offset) {
      return std::nullopt;
    }
    decoded.mark = mark;
  } else if (*kind == "void") {
    StreamVoid gone;
    if (!ParseDecimal(*first, gone.first) || gone.first == 0 || !ParseDecimal(value, gone.last) ||
        gone.first > gone.last) {
      return std::nullopt;
    }
    const std::size_t slash = key.rfind('/');
    if (slash == std::string_view::npos || key.substr(slash + 1) != *first) return std::nullopt;
    key = key.substr(0, slash);
    decoded.gone = gone;
  } else {
    return std::nullopt;
  }
  const std::optional<Stream> stream = ParseStream(key, topic);
  if (!stream) return std::nullopt;
  decoded.by = stream->by;
  decoded.partition = stream->partition;
  decoded.stream = key;
  return decoded;
}

}  // namespace once
