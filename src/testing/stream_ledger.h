// A StreamLedger knows, of one topic of an execution, the truth about its numbered streams: which
// numbers the brokers have, what has vanished between them and the consumers, what was given up,
// and what the side topic says. By it marks, voids and what consumers say of losses are judged
// (I9). It learns all that from what the fakes hold, never from the code under test.
// Thread-safety: none; see fiber_executor.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "once/loss.h"
#include "once/sequence.h"
#include "once/testing/invariants.h"
#include "once/testing/store_state.h"

namespace once::testing {

class StreamLedger {
 public:
  // A number of a stream, which goes by its StreamName.
  using Number = std::pair<std::string, std::uint64_t>;
  // Whether a number that no store calls given up is, as far as the world knows.
  using GivenUp = std::function<bool(const std::string& stream, std::uint64_t number)>;

  StreamLedger(InvariantChecker& checker, FiberScheduler& scheduler, std::string topic,
               absl::Duration gap_grace, GivenUp is_given_up = nullptr)
      : checker_(checker),
        scheduler_(scheduler),
        topic_(std::move(topic)),
        gap_grace_(gap_grace),
        is_given_up_(std::move(is_given_up)) {}

  // A record is stored under the number: false if that has named another message before.
  bool Name(const Number& number, std::int32_t partition, std::size_t message);
  // Where it is stored, and whether a consumer ever gets it. REQUIRES: it has been named.
  void AddCopy(const Number& number, std::int64_t offset, bool has_arrived);
  // A store calls the number given up, and has now.
  void Owe(const Number& number, std::int32_t partition);

  bool IsStored(const Number& number) const;
  bool IsOwed(const Number& number) const;
  bool IsDeclared(const Number& number) const;
  // The message that is stored under the number.
  std::optional<std::size_t> MessageOf(const Number& number) const;

  // A record of the side topic.
  void OnMark(const OutgoingMessage& message);
  // A consumer says what it misses.
  void OnLoss(const Process& process, const LossEvent& event);
  // The consumers' store holds the truth about what is missing; else what is wrong.
  std::optional<std::string> FindUntold(const StoreState& consumers,
                                        const std::vector<PartitionKey>& partitions) const;
  // Of every stream that `is_whole` names each number is stored or void, and its last mark says
  // where it ends.
  void CheckEnd(const std::function<bool(const std::string& stream)>& is_whole) const;

 private:
  struct Copies {
    std::size_t message = 0;
    std::vector<std::int64_t> offsets;
    std::optional<absl::Time> arrived;  // the first of them that a consumer gets
  };
  struct Stream {
    std::int32_t partition = 0;
    std::map<std::uint64_t, Copies> stored;        // by number
    std::map<std::uint64_t, absl::Time> declared;  // void
    std::set<std::uint64_t> owed;                  // ever
    std::uint64_t marked = 0;                      // the greatest number that a mark has told
    // When consumers could first know that the stream has come to a number: ascending.
    std::vector<std::pair<std::uint64_t, absl::Time>> shown;
  };

  const Stream* Find(const std::string& name) const;
  void Show(Stream& stream, std::uint64_t number);
  bool IsGivenUp(const std::string& name, const Stream& stream, std::uint64_t number) const;
  bool IsMissingRightly(const Number& number) const;
  void CheckMark(const std::string& name, Stream& stream, const StreamMark& mark);
  std::set<std::uint64_t> FindLost(const Stream& stream) const;
  void Fail(Check check, std::string what) const;

  InvariantChecker& checker_;
  FiberScheduler& scheduler_;
  const std::string topic_;
  const absl::Duration gap_grace_;
  const GivenUp is_given_up_;
  std::map<std::string, Stream> streams_;  // by name
  std::set<Number> vanished_;              // a copy of it has
};

}  // namespace once::testing
