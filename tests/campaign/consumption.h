// A Consumption is the real engine with a store on a disk that may be in trouble. It consumes a log
// of known content, in one process that is never restarted; what its handlers did is judged.
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/consumer.h"
#include "once/dedup_store.h"
#include "tests/unit/manual_executor.h"
#include "tests/unit/scripted_source.h"

namespace once::campaign {

enum class HandlerKind { kTransactional, kPlain };

// What a Consumption must know of a store in particular.
class ConsumedStore {
 public:
  virtual ~ConsumedStore() = default;
  virtual absl::StatusOr<std::shared_ptr<DedupStore>> Open(
      const std::string& path, std::function<absl::Time()> now) const = 0;
  // Adds an effect of the id, also when there is one.
  virtual absl::Status Book(Transaction& transaction, const std::string& id,
                            std::string_view body) const = 0;
  // How many effects each id has. The store is open in this process.
  virtual absl::StatusOr<std::map<std::string, int>> ReadEffects(const std::string& path,
                                                                 DedupStore& open) const = 0;
};

// Which messages there are: every seventh is rejected, every fifth fails once, every ninth comes
// again.
struct Load {
  int messages = 40;
  std::size_t value_bytes = 100;
  bool IsRejected(int number) const { return number % 7 == 3; }
  bool FailsOnce(int number) const { return number % 5 == 2; }
  bool ComesAgain(int number) const { return number % 9 == 4; }
};

class LetterBox;

class Consumption {
 public:
  // REQUIRES: `kind` outlives it.
  Consumption(const ConsumedStore& kind, std::string path, const Load& load, HandlerKind handler);

  // Opens the store, as often as it takes, and consumes until everything is settled. `after_step`
  // is called with the number of each step. What is wrong; empty: nothing.
  std::string ConsumeAll(absl::FunctionRef<void(int step)> after_step);

  // What is wrong with the effects and letters; empty: nothing. REQUIRES: the disk is well.
  std::string Judge();

  std::int64_t repeated() const { return repeated_; }
  // Of Judge(): ids without the effect or letter that they should have, and with too many effects.
  std::int64_t lost() const { return lost_; }
  std::int64_t duplicate_effects() const { return duplicate_effects_; }

 private:
  bool Start(std::string& wrong);
  ConsumerOptions Options();
  std::optional<Outcome> Instead(const Message& message) const;
  Outcome HandleInTransaction(const Message& message, Transaction& transaction);
  Outcome HandlePlainly(const Message& message);
  void CountWrong();
  bool IsSettled() const;
  std::int64_t EndOf(int partition) const;
  std::string Complaint() const;

  const ConsumedStore& kind_;
  const std::string path_;
  const Load load_;
  const HandlerKind handler_;
  const std::shared_ptr<ScriptedLog> log_;
  const std::shared_ptr<ManualExecutor> clock_ = std::make_shared<ManualExecutor>();
  const std::shared_ptr<LetterBox> letter_box_;
  std::map<std::string, int> effects_;
  std::int64_t repeated_ = 0;
  std::int64_t lost_ = 0;
  std::int64_t duplicate_effects_ = 0;
  std::shared_ptr<DedupStore> store_;
  std::unique_ptr<Consumer> consumer_;
};

}  // namespace once::campaign
