// Pages of rows as large as an answer may be; everything else is one word.
#include "src/operator/answer_outgoing.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/operator/codec.h"

namespace once::operators {
namespace {

using nlohmann::json;

// Rows read from the store for one answer, and bytes after which no further one joins it: far below
// the longest line, so that one more row of any usual size still fits.
constexpr std::size_t kRowsPerAnswer = 100;
constexpr std::size_t kBytesPerAnswer = 8 * 1024 * 1024;

constexpr const char* kDone = "done";

absl::Status BadArgument(std::string_view call) {
  return absl::InvalidArgumentError(
      absl::StrCat("the argument of ", ToAbsl(call), " is not what it should be"));
}

std::size_t Weigh(const OutgoingRow& row) { return SizeBytes(row.message); }
std::size_t Weigh(const ParkedRow& row) { return Weigh(row.row); }
std::size_t Weigh(const DiscardedRow& row) { return row.topic.size() + row.reason.size(); }

template <typename Row>
using ListRows = absl::StatusOr<std::vector<Row>> (OutgoingOperations::*)(std::int64_t,
                                                                          std::size_t);

// What of the rows fits into one answer; the client asks for the rest, until none comes.
template <typename Row>
absl::StatusOr<json> List(OutgoingOperations& outgoing, std::string_view call, const json& from,
                          ListRows<Row> list) {
  RowQuery query;
  if (!Decode(from, query)) return BadArgument(call);
  const auto found = (outgoing.*list)(query.after, std::min(query.rows_max, kRowsPerAnswer));
  if (!found.ok()) return found.status();
  json rows = json::array();
  std::size_t bytes = 0;
  for (const Row& row : *found) {
    if (bytes > kBytesPerAnswer) break;
    bytes += Weigh(row);
    rows.push_back(Encode(row));
  }
  const bool has_more = !rows.empty() && rows.size() < query.rows_max;
  return json{{kRowsName, std::move(rows)}, {kHasMoreName, has_more}};
}

absl::StatusOr<json> Answer(OutgoingOperations& outgoing, std::string_view call, const json& from) {
  if (call == kCountOutgoing) {
    const absl::StatusOr<OutgoingCounts> counts = outgoing.Count();
    return counts.ok() ? absl::StatusOr<json>(Encode(*counts)) : counts.status();
  }
  if (call == kListWaiting) {
    return List<OutgoingRow>(outgoing, call, from, &OutgoingOperations::ListWaiting);
  }
  if (call == kListParked) {
    return List<ParkedRow>(outgoing, call, from, &OutgoingOperations::ListParked);
  }
  if (call == kListDiscarded) {
    return List<DiscardedRow>(outgoing, call, from, &OutgoingOperations::ListDiscarded);
  }
  if (call == kUnparkTopic) {
    std::string topic;
    if (!Decode(from, topic)) return BadArgument(call);
    const absl::StatusOr<std::size_t> count = outgoing.UnparkTopic(topic);
    return count.ok() ? absl::StatusOr<json>(*count) : count.status();
  }
  RowWord word;
  if (!Decode(from, word)) return BadArgument(call);
  const absl::Status done = call == kUnpark            ? outgoing.Unpark(word.number)
                            : call == kDiscardOutgoing ? outgoing.Discard(word.number)
                                                       : outgoing.GiveUp(word.number, word.reason);
  return done.ok() ? absl::StatusOr<json>(kDone) : done;
}

}  // namespace

std::optional<absl::StatusOr<json>> AnswerOutgoing(OutgoingOperations* outgoing,
                                                   std::string_view call, const json& from) {
  constexpr std::string_view kCalls[] = {kCountOutgoing,   kListWaiting, kListParked,
                                         kListDiscarded,   kUnparkTopic, kUnpark,
                                         kDiscardOutgoing, kGiveUp};
  if (std::find(std::begin(kCalls), std::end(kCalls), call) == std::end(kCalls)) {
    return std::nullopt;
  }
  if (outgoing == nullptr) {
    return absl::StatusOr<json>(
        absl::UnimplementedError("the store keeps no messages that a relay publishes"));
  }
  return Answer(*outgoing, call, from);
}

}  // namespace once::operators
