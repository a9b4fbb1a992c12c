// Sixteen digits and a message.
#include "adapters/redis/outgoing_rows.h"

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "adapters/redis/outgoing_scripts.h"
#include "once/abseil.h"
#include "src/stores/outbox_codec.h"

namespace once::redis {
namespace {

absl::Status Damage(std::int64_t number, std::string_view how) {
  return absl::DataLossError(absl::StrCat("redis: spooled message ", number, " (row ",
                                          InLane(number), " of lane ", LaneOf(number), ") is ",
                                          ToAbsl(how), "; give it up"));
}

}  // namespace

std::vector<int> AllLanes() {
  std::vector<int> lanes;
  for (int lane = 0; lane < kLanes; ++lane) lanes.push_back(lane);
  return lanes;
}

std::string SpoolKeys::OfLane(int lane) const { return absl::StrCat(base_, ":lane:", lane); }

std::string SpoolKeys::OfRows(int lane) const { return absl::StrCat(base_, ":rows:", lane); }

std::string SpoolKeys::OfAppends(std::uint64_t incarnation) const {
  return absl::StrCat(base_, ":append:", absl::Hex(incarnation));
}

std::vector<std::string> SpoolKeys::OfLanes(const std::vector<int>& lanes) const {
  std::vector<std::string> keys;
  for (const int lane : lanes) {
    keys.push_back(OfLane(lane));
    keys.push_back(OfRows(lane));
  }
  return keys;
}

OutgoingRow SpoolRow(std::int64_t number, std::string_view value) {
  OutgoingRow row{.number = number};
  if (value.empty()) {
    row.damage = Damage(number, "gone");
    return row;
  }
  std::int64_t micros = 0;
  const bool is_timed = value.size() > kRowTimeDigits &&
                        absl::SimpleAtoi(ToAbsl(value.substr(0, kRowTimeDigits)), &micros);
  absl::StatusOr<OutgoingMessage> message =
      is_timed ? stores::DecodeMessage(value.substr(kRowTimeDigits))
               : absl::DataLossError("no row");
  if (!message.ok()) {
    row.damage = Damage(number, "damaged");
    return row;
  }
  row.put_at = absl::FromUnixMicros(micros);
  row.message = *std::move(message);
  return row;
}

std::int64_t NumberIn(const Reply& reply) {
  std::int64_t number = 0;
  return absl::SimpleAtoi(reply.text, &number) ? number : 0;
}

absl::Status UnreadableAnswer(std::string_view operation) {
  return absl::UnknownError(absl::StrCat("redis: ", ToAbsl(operation),
                                         ": the answer is none that a script of ours gives"));
}

}  // namespace once::redis
