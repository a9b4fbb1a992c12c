// JSON documents about outgoing messages.
#include "src/operator/codec.h"

namespace once::operators {
namespace {

using nlohmann::json;

// Microseconds since the Unix epoch; null for a time that is `none`.
json EncodeTime(absl::Time time, absl::Time none) {
  return time == none ? json() : json(absl::ToUnixMicros(time));
}

bool DecodeTime(const json& from, const char* name, absl::Time none, absl::Time& to) {
  std::optional<std::int64_t> micros;
  if (!DecodeMember(from, name, micros)) return false;
  to = micros ? absl::FromUnixMicros(*micros) : none;
  return true;
}

}  // namespace

json Encode(const OutgoingRow& row) {
  return {{"number", row.number},
          {"message", Encode(row.message)},
          {"put_at", EncodeTime(row.put_at, absl::InfinitePast())},
          {"damage", row.damage.ok() ? json() : Encode(row.damage)}};
}

bool Decode(const json& from, OutgoingRow& to) {
  const auto damage = from.find("damage");
  if (damage == from.end()) return false;
  to.damage = absl::OkStatus();
  return (damage->is_null() || Decode(*damage, to.damage)) &&
         DecodeMember(from, "number", to.number) && DecodeMember(from, "message", to.message) &&
         DecodeTime(from, "put_at", absl::InfinitePast(), to.put_at);
}

json Encode(const ParkedRow& row) {
  return {{"row", Encode(row.row)},
          {"reason", Encode(row.reason)},
          {"parked_at", EncodeTime(row.parked_at, absl::InfinitePast())}};
}

bool Decode(const json& from, ParkedRow& to) {
  return DecodeMember(from, "row", to.row) && DecodeMember(from, "reason", to.reason) &&
         DecodeTime(from, "parked_at", absl::InfinitePast(), to.parked_at);
}

json Encode(const DiscardedRow& row) {
  return {{"number", row.number},
          {"topic", Encode(row.topic)},
          {"id", Encode(row.id)},
          {"reason", Encode(row.reason)},
          {"discarded_at", EncodeTime(row.discarded_at, absl::InfinitePast())}};
}

bool Decode(const json& from, DiscardedRow& to) {
  return DecodeMember(from, "number", to.number) && DecodeMember(from, "topic", to.topic) &&
         DecodeMember(from, "id", to.id) && DecodeMember(from, "reason", to.reason) &&
         DecodeTime(from, "discarded_at", absl::InfinitePast(), to.discarded_at);
}

json Encode(const OutgoingCounts& counts) {
  return {{"waiting", counts.waiting},
          {"parked", counts.parked},
          {"oldest", EncodeTime(counts.oldest, absl::InfiniteFuture())}};
}

bool Decode(const json& from, OutgoingCounts& to) {
  return DecodeMember(from, "waiting", to.waiting) && DecodeMember(from, "parked", to.parked) &&
         DecodeTime(from, "oldest", absl::InfiniteFuture(), to.oldest);
}

json Encode(const RowQuery& query) {
  return {{"after", query.after}, {"rows_max", query.rows_max}};
}

bool Decode(const json& from, RowQuery& to) {
  return DecodeMember(from, "after", to.after) && DecodeMember(from, "rows_max", to.rows_max);
}

json Encode(const RowWord& word) {
  return {{"number", word.number}, {"reason", Encode(word.reason)}};
}

bool Decode(const json& from, RowWord& to) {
  return DecodeMember(from, "number", to.number) && DecodeMember(from, "reason", to.reason);
}

}  // namespace once::operators
