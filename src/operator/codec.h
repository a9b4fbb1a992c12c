// What operators and owners say to each other, as JSON. Everything that may be any bytes (ids,
// scopes, names, letters) is base64: JSON knows text only. Decoding believes nothing: a member that
// is missing, of another type or out of range fails.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/operations.h"
#include "once/outgoing_operations.h"
#include "src/operator/maintenance_desk.h"

namespace once::operators {

// Of the protocol. Raise it with every change of what is encoded here.
inline constexpr std::int64_t kVersion = 4;

// Member names of the outer documents.
inline constexpr const char* kVersionName = "once_operator";
inline constexpr const char* kCallName = "call";
inline constexpr const char* kArgumentName = "argument";
inline constexpr const char* kResultName = "result";
inline constexpr const char* kErrorName = "error";
// Members of the result of kFindFailures: what fitted, and whether the store had more.
inline constexpr const char* kLettersName = "letters";
inline constexpr const char* kHasMoreName = "has_more";
// … and of kListNotes, with kHasMoreName.
inline constexpr const char* kNotesName = "notes";
// … and of the lists of outgoing messages, likewise.
inline constexpr const char* kRowsName = "rows";

// The calls.
inline constexpr std::string_view kGreet = "greet";
inline constexpr std::string_view kListPositions = "list_positions";
inline constexpr std::string_view kOrderPosition = "order_position";
inline constexpr std::string_view kFindFailures = "find_failures";
inline constexpr std::string_view kFindId = "find_id";
inline constexpr std::string_view kListNotes = "list_notes";
inline constexpr std::string_view kRedrive = "redrive";
inline constexpr std::string_view kDiscard = "discard";
inline constexpr std::string_view kResolve = "resolve";
inline constexpr std::string_view kDropLetter = "drop_letter";
inline constexpr std::string_view kReadFigures = "read_figures";
inline constexpr std::string_view kStartJob = "start_job";  // its result is the number for …
inline constexpr std::string_view kLookAtJob = "look_at_job";
// Of outgoing messages.
inline constexpr std::string_view kCountOutgoing = "count_outgoing";
inline constexpr std::string_view kListWaiting = "list_waiting";
inline constexpr std::string_view kListParked = "list_parked";
inline constexpr std::string_view kListDiscarded = "list_discarded";
inline constexpr std::string_view kUnpark = "unpark";
inline constexpr std::string_view kUnparkTopic = "unpark_topic";  // its result is how many
inline constexpr std::string_view kDiscardOutgoing = "discard_outgoing";
inline constexpr std::string_view kGiveUp = "give_up";

// (scope, id), owned.
struct OwnedIdKey {
  std::string scope;
  std::string id;
};

// Rows of outgoing messages behind `after`, at most so many.
struct RowQuery {
  std::int64_t after = 0;
  std::size_t rows_max = 0;
};

// What is decided of one of them.
struct RowWord {
  std::int64_t number = 0;
  std::string reason;
};

// One line, without its newline. kInvalidArgument for what is no JSON object, or nested deeper or
// made of more parts than any document of ours.
absl::StatusOr<nlohmann::json> ParseDocument(std::string_view line);
// With the newline. Text that is not UTF-8 is mended.
std::string PrintDocument(const nlohmann::json& document);

nlohmann::json Encode(std::string_view bytes);
nlohmann::json Encode(const absl::Status& status);
nlohmann::json Encode(const PartitionKey& key);
nlohmann::json Encode(const StoredPosition& position);
nlohmann::json Encode(const PositionOrder& order);
nlohmann::json Encode(const OutgoingMessage& message);
nlohmann::json Encode(const OutboxRow& row);
nlohmann::json Encode(const StoredFailure& failure);
nlohmann::json Encode(const FailureQuery& query);
nlohmann::json Encode(const RedriveRequest& request);
nlohmann::json Encode(const StoreOperations::FoundId& found);
nlohmann::json Encode(const StoredNote& note);
nlohmann::json Encode(const NoteQuery& query);
nlohmann::json Encode(const OwnedIdKey& key);
nlohmann::json Encode(const StoreFigure& figure);
nlohmann::json Encode(const JobRequest& request);
nlohmann::json Encode(const JobState& state);
nlohmann::json Encode(const OutgoingRow& row);
nlohmann::json Encode(const ParkedRow& row);
nlohmann::json Encode(const DiscardedRow& row);
nlohmann::json Encode(const OutgoingCounts& counts);
nlohmann::json Encode(const RowQuery& query);
nlohmann::json Encode(const RowWord& word);

// False when `from` is not what Encode makes; `to` is then in no particular state.
bool Decode(const nlohmann::json& from, std::string& to);
bool Decode(const nlohmann::json& from, bool& to);
bool Decode(const nlohmann::json& from, absl::Status& to);
bool Decode(const nlohmann::json& from, PartitionKey& to);
bool Decode(const nlohmann::json& from, StoredPosition& to);
bool Decode(const nlohmann::json& from, PositionOrder& to);
bool Decode(const nlohmann::json& from, OutgoingMessage& to);
bool Decode(const nlohmann::json& from, OutboxRow& to);
bool Decode(const nlohmann::json& from, StoredFailure& to);
bool Decode(const nlohmann::json& from, FailureQuery& to);
bool Decode(const nlohmann::json& from, RedriveRequest& to);
bool Decode(const nlohmann::json& from, StoreOperations::FoundId& to);
bool Decode(const nlohmann::json& from, StoredNote& to);
bool Decode(const nlohmann::json& from, NoteQuery& to);
bool Decode(const nlohmann::json& from, OwnedIdKey& to);
bool Decode(const nlohmann::json& from, StoreFigure& to);
bool Decode(const nlohmann::json& from, JobRequest& to);
bool Decode(const nlohmann::json& from, JobState& to);
bool Decode(const nlohmann::json& from, OutgoingRow& to);
bool Decode(const nlohmann::json& from, ParkedRow& to);
bool Decode(const nlohmann::json& from, DiscardedRow& to);
bool Decode(const nlohmann::json& from, OutgoingCounts& to);
bool Decode(const nlohmann::json& from, RowQuery& to);
bool Decode(const nlohmann::json& from, RowWord& to);

// Whole numbers within their type's range, and nothing that was a fraction.
template <typename Int>
  requires(std::is_integral_v<Int> && !std::is_same_v<Int, bool>)
bool Decode(const nlohmann::json& from, Int& to) {
  if (!from.is_number_integer()) return false;
  if (from.is_number_unsigned()) {
    const auto number = from.get<std::uint64_t>();
    if (number > static_cast<std::uint64_t>(std::numeric_limits<Int>::max())) return false;
    to = static_cast<Int>(number);
    return true;
  }
  const auto number = from.get<std::int64_t>();
  if (std::is_unsigned_v<Int> && number < 0) return false;
  if (number < static_cast<std::int64_t>(std::numeric_limits<Int>::min())) return false;
  to = static_cast<Int>(number);
  return true;
}

// One of the enum's values up to `last`; they are numbered from 0.
template <typename Enum>
bool DecodeEnum(const nlohmann::json& from, Enum last, Enum& to) {
  std::uint8_t number = 0;
  if (!Decode(from, number) || number > static_cast<std::uint8_t>(last)) return false;
  to = static_cast<Enum>(number);
  return true;
}

// Null is nullopt.
template <typename T>
bool Decode(const nlohmann::json& from, std::optional<T>& to) {
  if (from.is_null()) {
    to.reset();
    return true;
  }
  return Decode(from, to.emplace());
}

template <typename T>
bool Decode(const nlohmann::json& from, std::vector<T>& to) {
  if (!from.is_array()) return false;
  to.clear();
  to.reserve(from.size());
  for (const nlohmann::json& element : from) {
    if (!Decode(element, to.emplace_back())) return false;
  }
  return true;
}

template <typename T>
nlohmann::json Encode(const std::optional<T>& value) {
  return value ? Encode(*value) : nlohmann::json();
}

template <typename T>
nlohmann::json Encode(const std::vector<T>& values) {
  nlohmann::json array = nlohmann::json::array();
  for (const T& value : values) array.push_back(Encode(value));
  return array;
}

// The member `name` of the object `from`.
template <typename T>
bool DecodeMember(const nlohmann::json& from, const char* name, T& to) {
  const auto found = from.find(name);
  return found != from.end() && Decode(*found, to);
}

}  // namespace once::operators
