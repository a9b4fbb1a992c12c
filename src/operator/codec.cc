// JSON documents of the operators' socket: field by field, in both directions.
#include "src/operator/codec.h"

#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::operators {
namespace {

using nlohmann::json;

// Deepest document of ours: argument, row, message, headers, header.
constexpr int kDepthMax = 8;
// A letter's headers are what makes a document long in parts; no broker takes so many.
constexpr std::size_t kPartsMax = 200'000;

// Microseconds since the Unix epoch; null for the infinite past.
json EncodeTime(absl::Time time) {
  return time == absl::InfinitePast() ? json() : json(absl::ToUnixMicros(time));
}

bool DecodeTime(const json& from, absl::Time& to) {
  std::optional<std::int64_t> micros;
  if (!Decode(from, micros)) return false;
  to = micros ? absl::FromUnixMicros(*micros) : absl::InfinitePast();
  return true;
}

json EncodeFingerprint(const Fingerprint& fingerprint) {
  return json::array({fingerprint.high, fingerprint.low});
}

bool DecodeFingerprint(const json& from, Fingerprint& to) {
  return from.is_array() && from.size() == 2 && Decode(from[0], to.high) && Decode(from[1], to.low);
}

template <typename Enum>
json EncodeEnum(Enum value) {
  return static_cast<std::uint8_t>(value);
}

json EncodeOrigin(const OutboxOrigin& origin) {
  return {{"key", Encode(origin.key)},
          {"offset", origin.offset},
          {"timestamp_ms", origin.timestamp_ms},
          {"scope", Encode(origin.scope)},
          {"ordinal", origin.ordinal}};
}

bool DecodeOrigin(const json& from, OutboxOrigin& to) {
  return DecodeMember(from, "key", to.key) && DecodeMember(from, "offset", to.offset) &&
         DecodeMember(from, "timestamp_ms", to.timestamp_ms) &&
         DecodeMember(from, "scope", to.scope) && DecodeMember(from, "ordinal", to.ordinal);
}

bool DecodeOriginMember(const json& from, OutboxOrigin& to) {
  const auto found = from.find("origin");
  return found != from.end() && DecodeOrigin(*found, to);
}

template <typename Enum>
bool DecodeEnumMember(const json& from, const char* name, Enum last, Enum& to) {
  const auto found = from.find(name);
  return found != from.end() && DecodeEnum(*found, last, to);
}

json EncodeApplied(const std::optional<AppliedRecord>& applied) {
  if (!applied) return {};
  return {{"offset", applied->offset},
          {"timestamp_ms", applied->timestamp_ms},
          {"fingerprint", EncodeFingerprint(applied->fingerprint)},
          {"log_time_ms", applied->log_time_ms}};
}

bool DecodeApplied(const json& from, std::optional<AppliedRecord>& to) {
  if (from.is_null()) {
    to.reset();
    return true;
  }
  AppliedRecord& applied = to.emplace();
  return DecodeMember(from, "offset", applied.offset) &&
         DecodeMember(from, "timestamp_ms", applied.timestamp_ms) &&
         DecodeMember(from, "log_time_ms", applied.log_time_ms) && from.contains("fingerprint") &&
         DecodeFingerprint(from["fingerprint"], applied.fingerprint);
}

}  // namespace

absl::StatusOr<json> ParseDocument(std::string_view line) {
  std::size_t parts = 0;
  bool is_too_much = false;
  const json::parser_callback_t keep = [&](int depth, json::parse_event_t, json&) {
    is_too_much = is_too_much || depth > kDepthMax || ++parts > kPartsMax;
    return !is_too_much;
  };
  json document = json::parse(line, keep, /*allow_exceptions=*/false);
  if (is_too_much) {
    return absl::InvalidArgumentError(absl::StrCat("the document is nested deeper than ", kDepthMax,
                                                   " or has more than ", kPartsMax, " parts"));
  }
  if (document.is_discarded() || !document.is_object()) {
    return absl::InvalidArgumentError("the line is no JSON object");
  }
  return document;
}

std::string PrintDocument(const json& document) {
  return document.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

json Encode(std::string_view bytes) { return absl::Base64Escape(ToAbsl(bytes)); }

bool Decode(const json& from, std::string& to) {
  const auto* text = from.get_ptr<const std::string*>();
  return text != nullptr && absl::Base64Unescape(*text, &to);
}

bool Decode(const json& from, bool& to) {
  if (!from.is_boolean()) return false;
  to = from.get<bool>();
  return true;
}

// The message is text for people, so it travels as text.
json Encode(const absl::Status& status) {
  return {{"code", static_cast<int>(status.code())}, {"message", std::string(status.message())}};
}

bool Decode(const json& from, absl::Status& to) {
  int code = 0;
  const auto message = from.find("message");
  const bool is_whole = DecodeMember(from, "code", code) && message != from.end() &&
                        message->is_string() && code != 0;
  if (!is_whole) return false;
  to = absl::Status(static_cast<absl::StatusCode>(code), message->get_ref<const std::string&>());
  return true;
}

json Encode(const PartitionKey& key) {
  return {{"cluster", Encode(key.cluster)},
          {"group", Encode(key.group)},
          {"topic", Encode(key.partition.topic)},
          {"partition", key.partition.partition}};
}

bool Decode(const json& from, PartitionKey& to) {
  return DecodeMember(from, "cluster", to.cluster) && DecodeMember(from, "group", to.group) &&
         DecodeMember(from, "topic", to.partition.topic) &&
         DecodeMember(from, "partition", to.partition.partition);
}

json Encode(const StoredPosition& position) {
  return {{"key", Encode(position.key)},
          {"position", position.stamp.position},
          {"revision", position.stamp.revision},
          {"writer", position.stamp.writer},
          {"reach", position.reach},
          {"last_applied", EncodeApplied(position.last_applied)},
          {"directive", EncodeEnum(position.directive)}};
}

bool Decode(const json& from, StoredPosition& to) {
  return DecodeMember(from, "key", to.key) && DecodeMember(from, "position", to.stamp.position) &&
         DecodeMember(from, "revision", to.stamp.revision) &&
         DecodeMember(from, "writer", to.stamp.writer) && DecodeMember(from, "reach", to.reach) &&
         from.contains("last_applied") && DecodeApplied(from["last_applied"], to.last_applied) &&
         DecodeEnumMember(from, "directive", PositionDirective::kLatest, to.directive);
}

json Encode(const PositionOrder& order) {
  return {{"key", Encode(order.key)},
          {"directive", EncodeEnum(order.directive)},
          {"position", order.position},
          {"writer", order.writer}};
}

bool Decode(const json& from, PositionOrder& to) {
  return DecodeMember(from, "key", to.key) &&
         DecodeEnumMember(from, "directive", PositionDirective::kLatest, to.directive) &&
         DecodeMember(from, "position", to.position) && DecodeMember(from, "writer", to.writer);
}

json Encode(const OutgoingMessage& message) {
  json headers = json::array();
  for (const OwnedHeader& header : message.headers) {
    headers.push_back(json::array({Encode(header.name), Encode(header.value)}));
  }
  return {{"topic", Encode(message.topic)},
          {"partition", message.partition ? json(*message.partition) : json()},
          {"key", Encode(message.key)},
          {"value", Encode(message.value)},
          {"headers", std::move(headers)}};
}

bool Decode(const json& from, OutgoingMessage& to) {
  const bool is_whole = DecodeMember(from, "topic", to.topic) &&
                        DecodeMember(from, "partition", to.partition) &&
                        DecodeMember(from, "key", to.key) && DecodeMember(from, "value", to.value);
  if (!is_whole) return false;
  const auto headers = from.find("headers");
  if (headers == from.end() || !headers->is_array()) return false;
  to.headers.clear();
  for (const json& header : *headers) {
    OwnedHeader& owned = to.headers.emplace_back();
    const bool is_header = header.is_array() && header.size() == 2 &&
                           Decode(header[0], owned.name) && Decode(header[1], owned.value);
    if (!is_header) return false;
  }
  return true;
}

json Encode(const OutboxRow& row) {
  return {{"origin", EncodeOrigin(row.origin)},
          {"message", Encode(row.message)},
          {"scope", Encode(row.scope)},
          {"id", Encode(row.id)}};
}

bool Decode(const json& from, OutboxRow& to) {
  return DecodeOriginMember(from, to.origin) && DecodeMember(from, "message", to.message) &&
         DecodeMember(from, "scope", to.scope) && DecodeMember(from, "id", to.id);
}

json Encode(const StoredFailure& failure) {
  return {{"number", failure.number},
          {"origin", EncodeOrigin(failure.origin)},
          {"scope", Encode(failure.scope)},
          {"id", Encode(failure.id)},
          {"state", EncodeEnum(failure.state)},
          {"is_published", failure.is_published},
          {"parked_reason", Encode(failure.parked_reason)},
          {"redrives", failure.redrives},
          {"letter", Encode(failure.letter)}};
}

bool Decode(const json& from, StoredFailure& to) {
  return DecodeMember(from, "number", to.number) && DecodeOriginMember(from, to.origin) &&
         DecodeMember(from, "scope", to.scope) && DecodeMember(from, "id", to.id) &&
         DecodeEnumMember(from, "state", IdState::kDying, to.state) &&
         DecodeMember(from, "is_published", to.is_published) &&
         DecodeMember(from, "parked_reason", to.parked_reason) &&
         DecodeMember(from, "redrives", to.redrives) && DecodeMember(from, "letter", to.letter);
}

json Encode(const FailureQuery& query) {
  return {{"after", query.after},
          {"letters_max", query.letters_max},
          {"id", Encode(query.id)},
          {"scope", Encode(query.scope)}};
}

bool Decode(const json& from, FailureQuery& to) {
  return DecodeMember(from, "after", to.after) &&
         DecodeMember(from, "letters_max", to.letters_max) && DecodeMember(from, "id", to.id) &&
         DecodeMember(from, "scope", to.scope);
}

json Encode(const StoredNote& note) {
  return {{"key", Encode(note.key)}, {"value", Encode(note.value)}};
}

bool Decode(const json& from, StoredNote& to) {
  return DecodeMember(from, "key", to.key) && DecodeMember(from, "value", to.value);
}

json Encode(const NoteQuery& query) {
  return {{"prefix", Encode(query.prefix)},
          {"after", Encode(query.after)},
          {"notes_max", query.notes_max}};
}

bool Decode(const json& from, NoteQuery& to) {
  return DecodeMember(from, "prefix", to.prefix) && DecodeMember(from, "after", to.after) &&
         DecodeMember(from, "notes_max", to.notes_max);
}

json Encode(const RedriveRequest& request) {
  return {{"number", request.number}, {"row", Encode(request.row)}};
}

bool Decode(const json& from, RedriveRequest& to) {
  return DecodeMember(from, "number", to.number) && DecodeMember(from, "row", to.row);
}

json Encode(const StoreOperations::FoundId& found) {
  const IdRecord& record = found.record;
  return {{"scope", Encode(found.scope)},
          {"state", EncodeEnum(record.state)},
          {"fingerprint", EncodeFingerprint(record.fingerprint)},
          {"attempt", record.attempt},
          {"first_failed_at", EncodeTime(record.first_failed_at)},
          {"not_before", EncodeTime(record.not_before)}};
}

bool Decode(const json& from, StoreOperations::FoundId& to) {
  IdRecord& record = to.record;
  return DecodeMember(from, "scope", to.scope) &&
         DecodeEnumMember(from, "state", IdState::kDying, record.state) &&
         from.contains("fingerprint") &&
         DecodeFingerprint(from["fingerprint"], record.fingerprint) &&
         DecodeMember(from, "attempt", record.attempt) && from.contains("first_failed_at") &&
         DecodeTime(from["first_failed_at"], record.first_failed_at) &&
         from.contains("not_before") && DecodeTime(from["not_before"], record.not_before);
}

json Encode(const OwnedIdKey& key) {
  return {{"scope", Encode(key.scope)}, {"id", Encode(key.id)}};
}

bool Decode(const json& from, OwnedIdKey& to) {
  return DecodeMember(from, "scope", to.scope) && DecodeMember(from, "id", to.id);
}

json Encode(const StoreFigure& figure) {
  return {{"name", Encode(figure.name)}, {"value", figure.value}};
}

bool Decode(const json& from, StoreFigure& to) {
  return DecodeMember(from, "name", to.name) && DecodeMember(from, "value", to.value);
}

json Encode(const JobRequest& request) {
  return {{"job", EncodeEnum(request.job)}, {"path", Encode(request.path)}};
}

bool Decode(const json& from, JobRequest& to) {
  return DecodeEnumMember(from, "job", MaintenanceJob::kBackup, to.job) &&
         DecodeMember(from, "path", to.path);
}

json Encode(const JobState& state) {
  return {{"is_running", state.is_running},
          {kErrorName, state.status.ok() ? json() : Encode(state.status)},
          {"findings", Encode(state.findings)}};
}

bool Decode(const json& from, JobState& to) {
  const auto error = from.find(kErrorName);
  if (error == from.end()) return false;
  to.status = absl::OkStatus();
  return (error->is_null() || Decode(*error, to.status)) &&
         DecodeMember(from, "is_running", to.is_running) &&
         DecodeMember(from, "findings", to.findings);
}

}  // namespace once::operators
