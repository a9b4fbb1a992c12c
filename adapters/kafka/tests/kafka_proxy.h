// A KafkaProxy stands between clients and a broker and cuts connections: before a request of some
// kind reaches the broker, or after the broker has answered it and before the client hears of it.
// Clients come back through it: it puts its own port into the answers that name the broker's
// address. It can also refuse records in the broker's place. It understands no more of the protocol
// than that.
// Source of the formats: https://kafka.apache.org/protocol.html
// Thread-safety: all methods are safe for concurrent use. A thread of its own does the work.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/time/time.h"

namespace once::kafka::testing {

// Kinds of requests, by the protocol's own numbers.
enum class KafkaRequest : std::int16_t {
  kProduce = 0,
  kFetch = 1,
  kMetadata = 3,
  kOffsetCommit = 8,
  kFindCoordinator = 10,
  kJoinGroup = 11,
  kHeartbeat = 12,
  kSyncGroup = 14,
  kInitProducerId = 22,
  kAddPartitionsToTxn = 24,
  kEndTxn = 26,
};

struct ConnectionCut {
  KafkaRequest request = KafkaRequest::kOffsetCommit;
  bool is_applied = false;  // the broker has carried it out, and the answer is lost
  absl::Duration silence;   // between the loss and the end of the connection
};

class KafkaProxy {
 public:
  // To a broker on this machine, "127.0.0.1:9092". Throws std::runtime_error.
  explicit KafkaProxy(const std::string& broker);
  ~KafkaProxy();
  KafkaProxy(const KafkaProxy&) = delete;
  KafkaProxy& operator=(const KafkaProxy&) = delete;

  std::string address() const;

  // The next request of that kind is the one. Replaces what was armed and has not happened.
  void Arm(const ConnectionCut& cut);
  void Disarm();
  // The next request with records is answered with this error, and the broker never sees it: as one
  // does that is not the partition's leader yet.
  void RefuseRecords(std::int16_t error) { refused_with_ = error; }
  // False: none was, or the client speaks a version of that request that is not understood here.
  bool has_refused() const { return has_refused_; }
  // False: as a machine that is off. Connections end, and so do new ones at once.
  void SetUp(bool is_up) { is_up_ = is_up; }
  // True when what was armed has happened within `patience`.
  bool AwaitCut(absl::Duration patience);

 private:
  // The client never sees it.
  struct LostAnswer {
    std::int32_t correlation = 0;
    absl::Duration silence;
    std::uint64_t number = 0;  // of the Arm()
  };

  // One client and its connection to the broker.
  struct Link {
    int client = -1;
    int broker = -1;
    std::string from_client;  // not a whole frame yet
    std::string from_broker;
    std::string to_client;  // not written yet
    std::string to_broker;
    std::map<std::int32_t, KafkaRequest> waiting;  // by correlation: not answered
    std::optional<LostAnswer> lost;
    std::optional<absl::Time> ends_at;
  };

  void Work(const std::stop_token& stop);
  void Accept();
  // False when the link is over.
  bool Serve(Link& link, short client_events, short broker_events);
  bool TakeRequests(Link& link);
  bool TakeResponses(Link& link);
  bool Refuse(Link& link, std::string_view request);
  void Lose(Link& link, const LostAnswer& lost);
  void NameSelf(std::string& response) const;

  std::uint16_t broker_port_ = 0;
  std::uint16_t port_ = 0;
  int listener_ = -1;
  std::vector<std::unique_ptr<Link>> links_;  // the thread's
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::optional<ConnectionCut> armed_;
  std::uint64_t number_ = 0;  // of the last Arm() or Disarm(): a cut of an earlier one is no news
  bool has_cut_ = false;
  std::atomic<std::int16_t> refused_with_ = 0;
  std::atomic<bool> has_refused_ = false;
  std::atomic<bool> is_up_ = true;
  std::jthread thread_;  // last: joined first
};

}  // namespace once::kafka::testing
