// The shared spool in Redis: what is appended, and whether it was; its log of outgoing messages.
// Thread-safety: as SpoolLog says.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "adapters/redis/cluster.h"
#include "adapters/redis/outgoing.h"
#include "adapters/redis/outgoing_rows.h"
#include "once/redis/spool.h"
#include "once/spool_log.h"

namespace once::redis {

class RedisSpool final : public SpoolLog {
 public:
  RedisSpool(std::unique_ptr<Cluster> cluster, const SpoolLogOptions& options);

  StoreTraits traits() const override;
  OutgoingLog& outgoing() override { return outgoing_; }
  absl::Status Append(const SpoolAppend& append) override;
  absl::StatusOr<bool> Resolve(std::uint64_t number) override;

 private:
  // The lanes of an append, and their messages.
  absl::StatusOr<ScriptCall> CallOf(const SpoolAppend& append);
  // Until enough replicas have heard of what was said. kUnknown: not enough did.
  absl::Status AwaitReplicas();
  void NoteDecided(std::uint64_t number);

  const std::unique_ptr<Cluster> cluster_;
  const SpoolKeys keys_;
  const absl::Duration patience_;  // with replicas
  const int replicas_min_;
  const std::function<absl::Duration()> clock_skew_;
  RedisOutgoing outgoing_;

  std::uint64_t decided_ = 0;  // the last append that is known to be decided in the server …
  std::chrono::steady_clock::time_point decided_at_;  // … and since when
  int keyless_ = 0;
  // The server has less than it had answered.
  std::atomic<bool> has_lost_ = false;
};

}  // namespace once::redis
