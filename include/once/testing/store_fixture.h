// What the conformance suites of stores share: a store made anew for every test, what it cannot do,
// and checks as values. The suites: store_conformance.h (transactions), claims_conformance.h,
// operations_conformance.h. One fixture serves all three.
// Thread-safety: as GoogleTest's; some tests start threads of their own.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/dedup_store.h"

namespace once::testing {

// One store with nothing in it, made anew for every test, and the ways to treat it badly.
class StoreFixture {
 public:
  virtual ~StoreFixture() = default;

  // The store, open. REQUIRES: a call waits for less than a second for another transaction.
  virtual DedupStore& store() = 0;

  // The handler's side: adds `row` to a table without any unique key, inside the transaction. Only
  // stores with transactions are asked for it.
  virtual absl::Status AppendEffect(Transaction& /*transaction*/, std::string_view /*row*/) {
    return absl::UnimplementedError("append an effect");
  }
  // The committed rows of that table as a bystander sees them, in commit order. Must answer while a
  // transaction is open.
  virtual absl::StatusOr<std::vector<std::string>> ReadEffects() {
    return absl::UnimplementedError("read the effects");
  }

  // For the suite of logs of outgoing messages. Null: there is none.
  virtual OutgoingLog* outgoing() {
    TransactionalStore* const transactions = store().transactions();
    return transactions == nullptr ? nullptr : transactions->outgoing();
  }
  // All of the messages or none, where the log takes them outside of transactions
  // (StoreCapabilities::why_no_transactions).
  virtual absl::Status AppendOutgoing(std::span<const OutgoingMessage> /*messages*/) {
    return absl::UnimplementedError("append outgoing messages");
  }

  // Closes the store and opens the same data again. No transaction is open.
  virtual absl::Status Reopen() { return absl::UnimplementedError("reopen"); }
  // As after the death of the process, with whatever transaction was open: the same data is opened
  // without the former store having been closed. Transactions from before may only be destroyed.
  virtual absl::Status Crash() { return absl::UnimplementedError("crash"); }

  // Lets `duration` pass on the store's clock, on which leases and delays are measured. A store
  // that does not offer it is given short leases, and the tests ask until they have ended.
  virtual absl::Status AdvanceClock(absl::Duration /*duration*/) {
    return absl::UnimplementedError("advance the clock");
  }
};

// Empty: the store can. Otherwise the reason why it cannot, which the skipped test prints.
struct StoreCapabilities {
  std::string why_no_reopen;
  std::string why_no_crash;
  std::string why_no_threads;    // calls from several threads (a simulated store)
  std::string why_no_exclusion;  // a second Begin on the same rows waits, then says kUnavailable
  // For claims: ids shared with them; for operations: all of it; for outgoing messages: that they
  // are committed with something else.
  std::string why_no_transactions;
  std::string why_no_claims;  // for the suite of operations: letters kept by Dying()
  // For the suite of stores in trouble.
  std::string why_no_full_disk;
  std::string why_no_broken_writes;
  std::string why_no_power_loss;
  std::string why_words_need_no_space;  // where an outcome is taken down even when nothing else is
};

struct StoreUnderTest {
  std::string name;
  StoreCapabilities capabilities = {};
  std::function<std::unique_ptr<StoreFixture>()> make;
};

// GoogleTest and ctest show a store by its name.
inline void PrintTo(const StoreUnderTest& subject, std::ostream* out) { *out << subject.name; }

// For the last argument of INSTANTIATE_TEST_SUITE_P.
std::string StoreName(const ::testing::TestParamInfo<StoreUnderTest>& info);

// A test of a suite as a value: run() makes a store and reports through GoogleTest's assertions. So
// a suite can be run on a store with a planted bug, to see that it notices.
struct StoreCheck {
  std::string name;
  std::function<void(const StoreUnderTest&)> run;
};

}  // namespace once::testing
