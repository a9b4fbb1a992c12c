// Compares what was booked and what was dead-lettered with what was sent. Pure: it is fed rows and
// letters and knows nothing of brokers and files.
//
//   Checker checker(plan);
//   for (…) checker.AddEffect(…);   // every row of the effects table
//   for (…) checker.AddBalance(…);  // every account
//   for (…) checker.AddLetter(…);   // every message of the dead-letter topic
//   const Findings findings = checker.Finish();
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/cli/orders.h"

namespace once::demo {

struct BookedEffect {
  std::string_view order_id;
  std::int64_t account = 0;
  std::int64_t cents = 0;
  int attempt = 1;  // the one that succeeded
};

struct ReadLetter {
  std::string_view value;        // of the original message
  std::string_view disposition;  // header once-disposition
  int attempt = 0;               // header once-attempt
};

struct Findings {
  std::uint64_t messages = 0;    // sent
  std::uint64_t unique_ids = 0;  // among them
  std::uint64_t effects = 0;     // rows booked
  // Orders without a booked effect of their amount, messages that had to be dead-lettered and are
  // not in the dead-letter topic, and accounts that hold less than the effects say.
  std::uint64_t lost = 0;
  // Effects beyond the first of an order, effects that must not be there at all, and accounts that
  // hold more than the effects say.
  std::uint64_t duplicate_effects = 0;
  // Messages of booked orders that left no effect of their own.
  std::uint64_t duplicates_suppressed = 0;
  // Failed attempts before the final one: the sum of `attempt` - 1 over effects and letters. Both
  // carry the number that was committed together with them, so no crash can lose a count.
  std::uint64_t retried = 0;
  std::uint64_t dead_lettered = 0;  // different messages read back, conflicts included
  std::uint64_t conflicts = 0;      // of those
  // What is wrong, in words; the first kComplaintsMax of them.
  std::vector<std::string> complaints;

  bool is_perfect() const { return lost == 0 && duplicate_effects == 0; }
};

inline constexpr std::size_t kComplaintsMax = 20;

class Checker {
 public:
  // `plan` must outlive the checker.
  explicit Checker(const OrderPlan& plan);

  void AddEffect(const BookedEffect& effect);
  // One account, once.
  void AddBalance(std::int64_t account, std::int64_t cents);
  // Letters may repeat: they are published at least once.
  void AddLetter(const ReadLetter& letter);

  // Letters that were expected and have been added, each counted once.
  std::size_t letters_found() const { return letters_found_; }
  std::size_t letters_expected() const { return letters_.size(); }

  // Once, at the end.
  Findings Finish();

 private:
  struct OrderState {
    std::uint32_t sent = 0;    // messages with its id and value
    std::uint32_t booked = 0;  // effects with its id
    std::uint32_t right = 0;   // of those, with its amount and account
  };
  using LetterKey = std::pair<std::uint32_t, std::int64_t>;  // order and cents
  struct LetterState {
    OrderKind kind = OrderKind::kPoison;
    bool is_found = false;
  };

  void Complain(std::string text);
  void JudgeOrder(std::uint32_t number);

  const OrderPlan& plan_;
  std::vector<OrderState> orders_;
  std::map<LetterKey, LetterState> letters_;  // that must be found
  std::map<LetterKey, int> surprises_;        // letters nobody expected, with their attempt
  std::array<std::int64_t, kAccounts> booked_cents_{};
  std::array<std::int64_t, kAccounts> balances_{};
  std::size_t letters_found_ = 0;
  Findings findings_;
};

}  // namespace once::demo
