// Ids looked at and decided about by scripts; the rest refused.
#include "adapters/redis/operations.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "adapters/redis/key_walk.h"
#include "adapters/redis/values.h"
#include "once/abseil.h"

namespace once::redis {
namespace {

absl::Status NoPositions() {
  return absl::UnimplementedError(
      "redis: a claim store has no positions: where a group goes on is its committed offset at "
      "the broker; stop its consumers and move it with the broker's own tools "
      "(kafka-consumer-groups --reset-offsets)");
}

absl::Status NoLetters() {
  return absl::UnimplementedError(
      "redis: a claim store keeps no dead letters: read them in the dead-letter topic. `once "
      "redrive ID` lets a message be handled again that you then publish from there to the topic "
      "it came from; `once discard ID` and `once resolve ID` settle one without");
}

std::string Digit(IdState state) { return absl::StrCat(static_cast<int>(state)); }

bool IsState(std::int64_t number) {
  return number >= 0 && number <= static_cast<std::int64_t>(IdState::kDying);
}

// What kLook answers.
absl::StatusOr<IdRecord> RecordOf(const Reply& reply) {
  constexpr std::size_t kParts = 5;
  const std::vector<Reply>& parts = reply.elements;
  if (parts.size() != kParts || !IsState(parts[0].integer)) {
    return absl::InternalError("redis: find id: the answer is none that a script of ours gives");
  }
  IdRecord record{.state = static_cast<IdState>(parts[0].integer),
                  .fingerprint = FingerprintOf(parts[2].text),
                  .attempt = static_cast<int>(parts[1].integer),
                  .first_failed_at = TimeOf(parts[3].text)};
  if (parts[4].text != "0") record.not_before = TimeOf(parts[4].text);
  return record;
}

}  // namespace

RedisOperations::RedisOperations(Cluster& cluster, const StoreOptions& options)
    : cluster_(cluster),
      keys_(options.key_prefix),
      scopes_(cluster, options.key_prefix),
      retention_(RetentionMilliseconds(options.retention)),
      clock_skew_(options.clock_skew) {}

absl::StatusOr<std::vector<StoredPosition>> RedisOperations::ListPositions() {
  return NoPositions();
}

absl::StatusOr<std::vector<StoredNote>> RedisOperations::ListNotes(const NoteQuery& /*query*/) {
  return absl::UnimplementedError("redis: a claim store keeps no notes of its consumers");
}

absl::Status RedisOperations::OrderPosition(const PositionOrder& /*order*/) {
  return NoPositions();
}

absl::StatusOr<std::vector<StoredFailure>> RedisOperations::FindFailures(
    const FailureQuery& /*query*/) {
  return NoLetters();
}

absl::Status RedisOperations::DropLetter(std::int64_t /*number*/) { return NoLetters(); }

ScriptCall RedisOperations::CallOf(const std::string& key) const {
  const absl::Duration skew = clock_skew_ ? clock_skew_() : absl::ZeroDuration();
  return {.key = key, .arguments = {Microseconds(skew)}};
}

absl::StatusOr<std::vector<StoreOperations::FoundId>> RedisOperations::Look(
    const std::vector<std::string>& keys) {
  std::vector<ScriptCall> looks;
  looks.reserve(keys.size());
  for (const std::string& key : keys) looks.push_back(CallOf(key));
  const auto replies = cluster_.Run(ScriptName::kLook, looks);
  if (!replies.ok()) return replies.status();
  std::vector<FoundId> found;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const absl::StatusOr<IdRecord> record = RecordOf((*replies)[i]);
    if (!record.ok()) return record.status();
    if (record->state == IdState::kAbsent) continue;
    found.push_back({.scope = std::string(keys_.Read(keys[i]).id.scope), .record = *record});
  }
  return found;
}

absl::StatusOr<std::vector<StoreOperations::FoundId>> RedisOperations::Search(
    const std::string& id) {
  std::vector<std::string> keys;
  KeyWalk walk(cluster_, keys_.PatternOfId(id));
  while (!walk.is_over()) {
    if (walk.passed() >= kSearchedKeysMax) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "no scope that is noted knows the id, and the server has more than ", kSearchedKeysMax,
          " keys to look through; is it ", Quoted(id), " that is meant?"));
    }
    const auto page = walk.NextPage();
    if (!page.ok()) return page.status();
    for (const std::string& key : *page) {
      const KeyNames::Meaning meaning = keys_.Read(key);
      if (meaning.kind == KeyNames::Kind::kId && meaning.id.id == id) keys.push_back(key);
    }
  }
  // A key may be visited twice.
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return Look(keys);
}

absl::StatusOr<std::vector<StoreOperations::FoundId>> RedisOperations::FindId(
    const std::string& id) {
  const absl::StatusOr<std::vector<std::string>> scopes = scopes_.Read();
  if (!scopes.ok()) return Annotate(scopes.status(), "redis: find id");
  std::vector<std::string> keys;
  for (const std::string& scope : *scopes) keys.push_back(keys_.OfId({.scope = scope, .id = id}));
  absl::StatusOr<std::vector<FoundId>> found = Look(keys);
  if (found.ok() && found->empty()) found = Search(id);
  if (!found.ok()) return Annotate(found.status(), "redis: find id");
  return found;
}

absl::Status RedisOperations::Decide(std::string_view operation, const IdKey& key, IdState to,
                                     const std::vector<IdState>& permitted) {
  std::string digits;
  std::string wanted;
  for (const IdState state : permitted) {
    digits.append(Digit(state));
    absl::StrAppend(&wanted, wanted.empty() ? "" : " or ", ToAbsl(ToString(state)));
  }
  ScriptCall call = CallOf(keys_.OfId(key));
  call.arguments.insert(call.arguments.end(), {Digit(to), digits, retention_});
  const std::string what = absl::StrCat("redis: ", ToAbsl(operation), " ", Quoted(key.id));
  const auto replies = cluster_.Run(ScriptName::kDecide, {&call, 1});
  if (!replies.ok()) return Annotate(replies.status(), what);
  const std::vector<Reply>& told = replies->front().elements;
  if (told.size() != 2 || !IsState(told[1].integer)) {
    return absl::UnknownError(
        absl::StrCat(what, ": the answer is none that a script of ours gives"));
  }
  if (told[0].integer == 1) return absl::OkStatus();
  const auto state = static_cast<IdState>(told[1].integer);
  if (state == IdState::kAbsent) {
    return absl::NotFoundError(absl::StrCat(what, ": the id is not known under this scope"));
  }
  return absl::FailedPreconditionError(
      absl::StrCat(what, ": the id is ", ToAbsl(ToString(state)), ", not ", wanted));
}

absl::Status RedisOperations::Redrive(const RedriveRequest& request) {
  if (request.number != 0) return NoLetters();
  return Decide("redrive", {.scope = request.row.scope, .id = request.row.id}, IdState::kRetrying,
                {IdState::kDead, IdState::kUncertain});
}

absl::Status RedisOperations::Discard(const IdKey& key) {
  return Decide("discard", key, IdState::kDiscarded,
                {IdState::kDead, IdState::kUncertain, IdState::kRetrying, IdState::kDying});
}

absl::Status RedisOperations::Resolve(const IdKey& key) {
  return Decide("resolve", key, IdState::kCompleted, {IdState::kUncertain});
}

}  // namespace once::redis
