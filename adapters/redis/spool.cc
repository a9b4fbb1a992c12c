// One script for what is appended; another one decides where its answer was lost.
#include "adapters/redis/spool.h"

#include <chrono>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "adapters/redis/address.h"
#include "adapters/redis/opening.h"
#include "adapters/redis/outgoing_scripts.h"
#include "adapters/redis/values.h"
#include "once/abseil.h"
#include "once/transaction.h"
#include "src/stores/outbox_codec.h"
#include "src/stores/outgoing_codec.h"
#include "src/test_hooks.h"

namespace once::redis {
namespace {

// How long the server remembers what was decided of an opening's last append. An opening asks at
// once where it does not know; only one that hangs for longer may append twice.
constexpr std::int64_t kDecisionMilliseconds = std::int64_t{7} * 24 * 60 * 60 * 1000;
// And as long it is certain to remember, so that whoever finds it gone has lost it.
constexpr std::chrono::hours kDecisionKept(24 * 3);

}  // namespace

RedisSpool::RedisSpool(std::unique_ptr<Cluster> cluster, const SpoolLogOptions& options)
    : cluster_(std::move(cluster)),
      keys_(options.key_prefix),
      patience_(options.server.call_timeout / 2),
      replicas_min_(options.replicas_min),
      clock_skew_(options.server.clock_skew),
      outgoing_(*cluster_, keys_, options.lane_lease, clock_skew_) {}

StoreTraits RedisSpool::traits() const {
  StoreTraits traits = cluster_->traits();
  if (!has_lost_) return traits;
  traits.durability = Durability::kNothing;
  traits.weakness =
      "the server went back to an earlier state: messages that it had taken into the spool are "
      "lost" +
      (traits.weakness.empty() ? "" : "; " + traits.weakness);
  return traits;
}

absl::StatusOr<ScriptCall> RedisSpool::CallOf(const SpoolAppend& append) {
  std::map<int, std::vector<std::string>> rows;
  std::size_t bytes = 0;
  // Those without a key go to one lane, so that few are written to.
  keyless_ = (keyless_ + 1) % kLanes;
  for (const OutgoingMessage* const message : append.messages) {
    if (absl::Status valid = ValidateOutgoing(*message); !valid.ok()) return valid;
    const std::uint64_t order = stores::OrderOf(*message);
    std::string row = stores::EncodeMessage(*message);
    if (row.size() > kSpoolMessageBytesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("redis: a message of ", row.size(), " bytes to topic ", message->topic,
                       "; a shared spool takes ", kSpoolMessageBytesMax, " at most"));
    }
    bytes += row.size() + kRowTimeDigits;
    rows[order == 0 ? keyless_ : static_cast<int>(order % kLanes)].push_back(std::move(row));
  }
  const bool is_kept = std::chrono::steady_clock::now() - decided_at_ < kDecisionKept;
  ScriptCall call{
      .key = keys_.OfSpool(),
      .arguments = {Microseconds(clock_skew_ ? clock_skew_() : absl::ZeroDuration()),
                    absl::StrCat(append.number), absl::StrCat(is_kept ? decided_ : 0),
                    absl::StrCat(kDecisionMilliseconds), absl::StrCat(append.messages_max),
                    absl::StrCat(append.bytes_max), absl::StrCat(append.messages.size()),
                    absl::StrCat(bytes), absl::StrCat(rows.size())},
      .more_keys = {keys_.OfAppends(cluster_->incarnation())}};
  for (auto& [lane, list] : rows) {
    call.more_keys.push_back(keys_.OfLane(lane));
    call.more_keys.push_back(keys_.OfRows(lane));
    call.arguments.push_back(absl::StrCat(list.size()));
    for (std::string& row : list) call.arguments.push_back(std::move(row));
  }
  return call;
}

absl::Status RedisSpool::AwaitReplicas() {
  if (replicas_min_ == 0) return absl::OkStatus();
  // Whichever lanes it was of.
  std::vector<std::string> keys = keys_.OfLanes(AllLanes());
  keys.insert(keys.begin(), keys_.OfAppends(cluster_->incarnation()));
  const absl::StatusOr<std::int64_t> heard =
      cluster_->AwaitReplicas(keys, kDecisionMilliseconds, replicas_min_, patience_);
  if (!heard.ok()) return absl::UnknownError(heard.status().message());
  if (*heard >= replicas_min_) return absl::OkStatus();
  return absl::UnknownError(absl::StrCat("redis: ", *heard, " replicas have heard of it, ",
                                         replicas_min_, " are wanted (replicas_min)"));
}

void RedisSpool::NoteDecided(std::uint64_t number) {
  decided_ = number;
  decided_at_ = std::chrono::steady_clock::now();
}

absl::Status RedisSpool::Append(const SpoolAppend& append) {
  if (append.messages.empty()) return absl::OkStatus();
  const absl::StatusOr<ScriptCall> call = CallOf(append);
  if (!call.ok()) return call.status();
  ONCE_KILL_POINT("redis_spool.before_append");
  const absl::StatusOr<Reply> reply = cluster_->Run(ScriptsOfOutgoing().append, *call);
  ONCE_KILL_POINT("redis_spool.appended");
  if (absl::IsResourceExhausted(reply.status())) {
    return absl::ResourceExhaustedError(
        absl::StrCat("redis: the server of the spool is full (", reply.status().message(), ")"));
  }
  if (!reply.ok()) return reply.status();
  if (reply->elements.size() != 2) return UnreadableAnswer("append");
  if (reply->elements[1].integer != 0) has_lost_ = true;
  switch (reply->elements[0].integer) {
    case kAppended:
      NoteDecided(append.number);
      return AwaitReplicas();
    case kSpoolFull:
      return absl::ResourceExhaustedError(
          absl::StrCat("redis: the spool holds ", append.messages_max, " messages or ",
                       append.bytes_max, " bytes already, of all processes (limits)"));
    case kDecidedBefore:
      return absl::InternalError(
          absl::StrCat("redis: append ", append.number, " of this opening was decided before"));
    default:
      return UnreadableAnswer("append");
  }
}

absl::StatusOr<bool> RedisSpool::Resolve(std::uint64_t number) {
  const ScriptCall call{.key = keys_.OfAppends(cluster_->incarnation()),
                        .arguments = {absl::StrCat(number), absl::StrCat(kDecisionMilliseconds)}};
  const absl::StatusOr<Reply> reply = cluster_->Run(ScriptsOfOutgoing().resolve, call);
  if (!reply.ok()) return reply.status();
  NoteDecided(number);
  if (reply->integer == kAppendedInPart) {
    return absl::DataLossError(absl::StrCat(
        "redis: the server failed in the middle of append ", number,
        " of this opening: some of its messages are in the spool, and will be published, the "
        "others are not; this process appends nothing more: mend the server's keys, and begin a "
        "new process"));
  }
  if (reply->integer == 0) return false;
  if (absl::Status heard = AwaitReplicas(); !heard.ok()) return heard;
  return true;
}

// ---- Opening ----

namespace {

absl::Status Refuse(std::string_view reason) {
  return absl::InvalidArgumentError(absl::StrCat("redis: ", ToAbsl(reason)));
}

absl::Status CheckSpoolOptions(const SpoolLogOptions& options) {
  // Leases are renewed every second.
  if (options.lane_lease < absl::Seconds(3) || options.lane_lease > absl::Hours(1)) {
    return Refuse("lane_lease must be from 3 seconds to an hour");
  }
  constexpr int kReplicasMax = 100;
  if (options.replicas_min < 0 || options.replicas_min > kReplicasMax) {
    return Refuse("replicas_min must be from 0 to 100");
  }
  if (options.server.accept_eviction) {
    return Refuse(
        "accept_eviction is for claims: a spool whose server evicts would lose messages silently; "
        "set maxmemory-policy noeviction");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<SpoolLog>> OpenSpoolLog(SpoolLogOptions options) {
  if (absl::Status checked = CheckSpoolOptions(options); !checked.ok()) return checked;
  options.server.key_prefix = options.key_prefix;
  absl::StatusOr<ServerAddress> address = CheckOptions(options.server);
  if (!address.ok()) return address.status();
  auto cluster = Cluster::Open(options.server,
                               KeyNames(options.key_prefix, SpoolKeys::TagOf(options.key_prefix)),
                               *std::move(address));
  if (!cluster.ok()) return cluster.status();
  return std::make_shared<RedisSpool>(*std::move(cluster), options);
}

}  // namespace once::redis
