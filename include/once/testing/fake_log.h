// A FakeLog is a broker's log and its group coordinator in a simulation: partitions, members,
// generations, committed offsets. Every process connects for itself and gets a LogSource.
//
// It behaves as Kafka was seen to behave: an eager rebalance takes everything away first, a
// cooperative one only what moves; a commit is checked for member and generation and not for
// ownership; a member that is expelled learns of it at its next poll and is told that its
// partitions are lost; before that it goes on as a zombie. See seam.h for the faults.
//
// Thread-safety: none; see fiber_executor.h. Outside of fibres it works too, and waits take no
// time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "once/message.h"
#include "once/source.h"
#include "once/testing/fiber_executor.h"
#include "once/testing/observer.h"
#include "once/testing/seam.h"

namespace once::testing {

enum class RebalanceProtocol : std::uint8_t { kEager, kCooperative };

struct FakeLogOptions {
  std::string cluster = "cluster";
  std::string group = "group";
  std::string topic = "orders";
  int partitions = 1;
  RebalanceProtocol protocol = RebalanceProtocol::kEager;
  std::size_t messages_per_poll = 1000;
  // True: the oracle decides how many of the available messages a poll returns.
  bool is_partial = false;
  // A member that does not poll for so long is expelled; a rebalance waits for it until then.
  absl::Duration poll_interval_max = absl::Minutes(5);
};

struct LogRecord {
  std::optional<std::string> key;
  std::optional<std::string> value;
  std::vector<OwnedHeader> headers;
  std::int64_t timestamp_ms = 1'700'000'000'000;
};

class FakeSource;

class FakeLog {
 public:
  // `observer` may be null; it and the gate must outlive the log and every connection. Registers
  // itself with the gate for expulsions and rebalances.
  FakeLog(SeamGate& gate, FakeLogOptions options, SimulationObserver* observer);
  FakeLog(const FakeLog&) = delete;
  FakeLog& operator=(const FakeLog&) = delete;

  std::unique_ptr<LogSource> Connect(std::shared_ptr<Process> process);
  // The same with a poll interval of its own.
  std::unique_ptr<LogSource> Connect(std::shared_ptr<Process> process,
                                     absl::Duration poll_interval_max);

  // The offset it got.
  std::int64_t Append(int partition, LogRecord record);
  // Leaves a hole, as compaction and transaction markers do.
  void SkipOffset(int partition);
  // Offsets below `first` are gone, as after retention.
  void DeleteBefore(int partition, std::int64_t first);

  // The topic is deleted and made anew: no message, and no offsets of the group.
  void Recreate();
  // Messages from `end` on are gone, and their offsets will be given to others: the log was cut by
  // an election in which no complete copy took part.
  void Truncate(int partition, std::int64_t end);
  // An operator sets the group's offset.
  void SetCommitted(int partition, std::int64_t offset, std::string metadata = {});

  // One past the last offset.
  std::int64_t end(int partition) const;
  // Null for a hole, and for what was deleted.
  const LogRecord* Find(int partition, std::int64_t offset) const;
  // The same, also of what DeleteBefore() has deleted.
  const LogRecord* FindEver(int partition, std::int64_t offset) const;
  std::optional<std::int64_t> committed(int partition) const;
  const FakeLogOptions& options() const { return options_; }
  PartitionKey KeyOf(int partition) const;

  // Faults. The member's session ends. Its process learns of it at its next poll, or, when it is
  // deaf, at the one after that: until then it is fed like a member.
  void Expel(Process& process, bool is_deaf = false);
  // Everybody must join again, and the partitions move by one member.
  void Rebalance();

 private:
  friend class FakeSource;

  struct Partition {
    std::map<std::int64_t, LogRecord> records;
    std::map<std::int64_t, LogRecord> deleted;  // by retention
    std::int64_t first = 0;
    std::int64_t end = 0;
    std::optional<std::int64_t> committed;
    std::string metadata;
  };

  // What the coordinator knows of a member.
  struct Member {
    FakeSource* source = nullptr;
    bool is_polling = false;
    absl::Time last_poll = absl::InfiniteFuture();
    bool has_joined = false;  // in the rebalance that goes on
    bool has_news = false;    // an assignment that it has not heard of
    std::set<int> target;     // what it shall own in the end
    std::set<int> assigned;   // what it may own now
  };

  std::uint64_t Join(FakeSource& source);
  void Leave(std::uint64_t member);
  // Expels who has not polled for too long. Called before the coordinator answers anything.
  void ExpireSilent();
  void BeginRebalance();
  void TryComplete();
  void Notify() { changed_.NotifyAll(); }
  Member* FindMember(std::uint64_t id);
  bool IsOwnedByAnother(int partition, std::uint64_t member) const;

  SeamGate& gate_;
  FakeLogOptions options_;
  SimulationObserver* observer_;
  SimulationObserver silent_;
  std::vector<Partition> partitions_;
  std::map<std::uint64_t, Member> members_;
  std::uint64_t last_member_ = 0;
  std::uint64_t generation_ = 0;
  std::size_t rotation_ = 0;
  bool is_rebalancing_ = false;
  Condition changed_;
};

}  // namespace once::testing
