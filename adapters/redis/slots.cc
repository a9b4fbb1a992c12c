// CRC16, CLUSTER SLOTS, MOVED and ASK.
#include "adapters/redis/slots.h"

#include <array>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "adapters/redis/errors.h"
#include "once/abseil.h"

namespace once::redis {
namespace {

constexpr unsigned kPolynomial = 0x1021;
constexpr int kPortMax = 65535;
// Of words. One slot is met by one in kSlots of them.
constexpr int kTagTriesMax = 1'000'000;

constexpr std::array<std::uint16_t, 256> MakeTable() {
  std::array<std::uint16_t, 256> table{};
  for (unsigned byte = 0; byte < table.size(); ++byte) {
    unsigned rest = byte << 8;
    for (int bit = 0; bit < 8; ++bit) {
      rest = (rest << 1) ^ ((rest & 0x8000U) != 0 ? kPolynomial : 0U);
    }
    table[byte] = static_cast<std::uint16_t>(rest);
  }
  return table;
}

constexpr std::array<std::uint16_t, 256> kTable = MakeTable();

bool ParsePort(std::string_view text, int& port) {
  return absl::SimpleAtoi(ToAbsl(text), &port) && port > 0 && port <= kPortMax;
}

bool IsSlot(std::int64_t number) { return number >= 0 && number < kSlots; }

absl::Status NoMap(std::string_view what) {
  return absl::InternalError(absl::StrCat("redis: CLUSTER SLOTS answers no map: ", ToAbsl(what)));
}

// A node is its place, its port, its id, and more about its names.
absl::Status ParseNode(const Reply& node, SlotRange& range) {
  constexpr std::size_t kParts = 3;
  if (node.elements.size() < kParts) return NoMap("a node is incomplete");
  const Reply& host = node.elements[0];
  const Reply& port = node.elements[1];
  const Reply& id = node.elements[2];
  if (host.kind != Reply::Kind::kNil && !host.is_text()) return NoMap("a host is no text");
  if (port.kind != Reply::Kind::kInteger || port.integer <= 0 || port.integer > kPortMax) {
    return NoMap("a port is none");
  }
  if (!id.is_text() || id.text.empty()) return NoMap("a node has no id");
  // What a node says that is to be named by a hostname, and has none.
  if (host.text == "?") {
    return absl::UnavailableError(
        absl::StrCat("redis: node ", id.text,
                     " of the cluster has no name to be reached by; set its "
                     "cluster-announce-hostname, or cluster-preferred-endpoint-type ip"));
  }
  range.master = {.host = host.text, .port = static_cast<int>(port.integer)};
  range.master_id = id.text;
  return absl::OkStatus();
}

}  // namespace

std::uint16_t Crc16(std::string_view bytes) {
  unsigned rest = 0;
  for (const char byte : bytes) {
    const unsigned index = (rest >> 8) ^ static_cast<unsigned char>(byte);
    rest = ((rest << 8) & 0xFFFFU) ^ kTable[index];
  }
  return static_cast<std::uint16_t>(rest);
}

int SlotOf(std::string_view key) {
  const std::size_t open = key.find('{');
  if (open != std::string_view::npos) {
    const std::size_t close = key.find('}', open + 1);
    const bool has_tag = close != std::string_view::npos && close > open + 1;
    if (has_tag) key = key.substr(open + 1, close - open - 1);
  }
  return Crc16(key) % kSlots;
}

std::optional<std::string> TagWithin(std::string_view stem,
                                     const std::function<bool(int)>& is_wanted) {
  std::string tag(stem);
  for (int i = 0; i < kTagTriesMax; ++i) {
    if (is_wanted(SlotOf(tag))) return tag;
    tag = absl::StrCat(ToAbsl(stem), ".", absl::Hex(i));
  }
  return std::nullopt;
}

absl::StatusOr<std::vector<SlotRange>> ParseSlots(const Reply& reply) {
  if (reply.is_error()) return ErrorStatus(reply.text, /*is_opening=*/true);
  if (reply.kind != Reply::Kind::kArray) return NoMap("it is no array");
  std::vector<SlotRange> ranges;
  for (const Reply& told : reply.elements) {
    // First slot, last slot, master, replicas.
    constexpr std::size_t kParts = 3;
    if (told.elements.size() < kParts) return NoMap("a range is incomplete");
    const Reply& first = told.elements[0];
    const Reply& last = told.elements[1];
    const bool is_numbers =
        first.kind == Reply::Kind::kInteger && last.kind == Reply::Kind::kInteger;
    if (!is_numbers || !IsSlot(first.integer) || !IsSlot(last.integer) ||
        first.integer > last.integer) {
      return NoMap("a range has no slots");
    }
    SlotRange range{.first = static_cast<int>(first.integer),
                    .last = static_cast<int>(last.integer),
                    .master = {},
                    .master_id = {}};
    if (absl::Status parsed = ParseNode(told.elements[2], range); !parsed.ok()) return parsed;
    ranges.push_back(std::move(range));
  }
  return ranges;
}

std::optional<Redirection> ParseRedirection(std::string_view error) {
  // "MOVED 3999 127.0.0.1:6381"; a host may be left out, and may hold colons.
  constexpr std::size_t kWords = 3;
  const std::vector<absl::string_view> words = absl::StrSplit(ToAbsl(error), ' ');
  if (words.size() != kWords || (words[0] != "MOVED" && words[0] != "ASK")) return std::nullopt;
  Redirection redirection{.is_for_once = words[0] == "ASK"};
  if (!absl::SimpleAtoi(words[1], &redirection.slot) || !IsSlot(redirection.slot)) {
    return std::nullopt;
  }
  const std::string_view place(words[2].data(), words[2].size());
  const std::size_t colon = place.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  redirection.to.host = std::string(place.substr(0, colon));
  if (redirection.to.host == "?") return std::nullopt;
  if (!ParsePort(place.substr(colon + 1), redirection.to.port)) return std::nullopt;
  return redirection;
}

}  // namespace once::redis
