// RunEveryCrash() runs your handler, on your store, through every crash point: the process dies
// before and after each call to the store, the broker and the handler, a call fails, an answer is
// lost. After each of them the consumer starts anew and drains; then your check looks at what is
// there.
//
//   TEST(BookOrder, SurvivesEveryCrash) {
//     const CrashReport report = RunEveryCrash({
//         .open_store = [](const CrashWorld& world) {
//           return once::sqlite::OpenStore(
//               {.path = world.folder + "/orders.db", .now = world.now, .setup = CreateTables});
//         },
//         .messages = {{.id = "a", .value = "1"}, {.id = "b", .value = "2"}, {.id = "a", …}},
//         .handler = BookOrder,
//         .check = [](const CrashWorld& world) { return EachOrderIsBookedOnce(world.folder); }});
//     EXPECT_TRUE(report.ok()) << report;
//   }
//
// The engine, the handler and the store are the real ones. Broker, clock and crashes are simulated:
// a process that dies becomes a ghost whose calls do nothing, its open transaction is rolled back,
// its store is closed, and the next process calls open_store. So this is the death of a process,
// not of a machine: what a store has written and not synced stays. docs/testing-your-handler.md
// says what is proved and what is not.
//
// Thread-safety: everything happens on the calling thread; tests on different threads are
// independent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/consumer.h"
#include "once/dedup_store.h"
#include "once/handler.h"
#include "once/id_extractor.h"
#include "once/message.h"
#include "once/publisher.h"
#include "once/retry.h"

namespace once::testing {

// What one execution has to itself. Many worlds follow each other; nothing of one may be left in
// the next.
struct CrashWorld {
  // For files; empty at the beginning, removed in the end. In $TMPDIR, or else in memory.
  std::string folder;
  // The clock of the consumer: give it to the store.
  std::function<absl::Time()> now;
  // For `check`: what lies in the dead-letter topics. A letter may be there twice, with one id.
  std::vector<OutgoingMessage> letters;
};

struct CrashMessage {
  std::string id;  // becomes the header `id`; empty: `headers` or `value` has it, as you like
  std::string value;
  std::optional<std::string> key = std::nullopt;
  std::vector<OwnedHeader> headers = {};
  int partition = 0;  // of the topic `orders`, below 16
};

// A transactional or a plain handler. Copied for every process: what it captures by value is
// forgotten in a crash, as a process forgets; what it captures by reference survives, as another
// system does.
class CrashHandler {
 public:
  template <TransactionalHandler F>
  CrashHandler(F handler)  // NOLINT(google-explicit-constructor): `.handler = BookOrder`
      : handler_(EraseHandler(std::move(handler))) {}
  template <PlainHandler F>
  CrashHandler(F handler)  // NOLINT(google-explicit-constructor)
      : handler_(EraseHandler(std::move(handler))) {}

  bool is_plain() const { return std::holds_alternative<PlainHandlerFunction>(handler_); }
  const std::variant<TransactionalHandlerFunction, PlainHandlerFunction>& function() const {
    return handler_;
  }

 private:
  std::variant<TransactionalHandlerFunction, PlainHandlerFunction> handler_;
};

struct CrashTest {
  // Called whenever a process starts: the same data again, or what is left of it. A store that
  // lives in memory lives elsewhere, like a server: made by `reset`, and returned here.
  std::function<absl::StatusOr<std::shared_ptr<DedupStore>>(const CrashWorld& world)> open_store;
  // Called first in each execution: makes anew what outlives a process and is not in world.folder,
  // such as the fake of a payment service.
  std::function<absl::Status(const CrashWorld& world)> reset = nullptr;
  // Send one twice: producers do.
  std::vector<CrashMessage> messages = {};
  CrashHandler handler;
  // Called last, when all is handled and the store is closed: says what is wrong, or OK. Without
  // it only what the engine is asked to do is judged, not the effects.
  std::function<absl::Status(const CrashWorld& world)> check = nullptr;

  // As in ConsumerOptions.
  IdExtractor id = StandardIdHeaders();
  RetryPolicy retry = {};
  ClaimOptions claims = {};
  ConsumerLimits limits = {};
  // 1: every message is a batch of its own.
  std::size_t messages_per_poll = 1000;

  // All single faults are played. Of the pairs at most so many, evenly spread over all of them, and
  // none after a single fault has failed.
  std::int64_t pairs_max = 500;
  // After that, so many random executions of up to four faults; a pure function of the number.
  std::int64_t seeds = 0;
  // Longer than the waits of your retries and leases, on the simulated clock: who has not drained
  // by then never will.
  absl::Duration drain_max = absl::Hours(1);
  // The choices of a witness: plays that execution alone.
  std::string replay = {};
};

enum class CrashVerdict : std::uint8_t {
  kFine,
  kLost,          // a message was acknowledged, and neither handled nor dead-lettered nor skipped
  kTwice,         // the handler ran to its end twice for one id, in committed transactions
  kUnannounced,   // a plain handler ran again and maybe_repeated() did not say so
  kStuck,         // not everything was handled in CrashTest::drain_max
  kNotRestarted,  // a process could not start after the crash
  kWrongState,    // CrashTest::check says so
};
std::string_view ToString(CrashVerdict verdict);

// One place and one thing that goes wrong there: "commit/unknown-applied".
struct CrashPoint {
  std::string name;
  std::int64_t hits = 0;  // how often it struck, in all executions
  CrashVerdict verdict = CrashVerdict::kFine;
};

// The first execution that went wrong. Those with fewer faults come first.
struct CrashWitness {
  CrashVerdict verdict = CrashVerdict::kFine;
  std::string what;
  std::vector<std::string> faults;  // "process-1, commit 2: unknown-applied"
  std::string choices;              // for CrashTest::replay
  std::vector<std::string> history;
};

struct CrashReport {
  // Not OK: the test could not be run, and nothing else here means anything.
  absl::Status error;
  std::vector<CrashPoint> points;          // that were hit, by name
  std::vector<std::string> never_reached;  // calls that no execution came to
  std::int64_t messages = 0;
  std::int64_t executions = 0;
  std::int64_t singles = 0;
  std::int64_t pairs = 0;
  std::int64_t pairs_possible = 0;  // 0: not counted, since a single fault failed
  // Plain handlers: how often one ran again after it had succeeded, and was told that it may have.
  std::int64_t announced_repeats = 0;
  std::optional<CrashWitness> witness;

  bool ok() const { return error.ok() && !witness.has_value(); }
};

// The table and the witness, for people …
std::ostream& operator<<(std::ostream& out, const CrashReport& report);
// … and one JSON object, for tools.
std::string ToJson(const CrashReport& report);

CrashReport RunEveryCrash(const CrashTest& test);

// In a handler, or in what it calls: the process may die here. It ends the invocation by an
// exception that is no std::exception. Does nothing outside of RunEveryCrash(), and outside of the
// thread that the handler was called on.
void MayCrash(std::string_view place);

// In the same places: OK, or the failure of a call that was not carried out. In a fake of another
// system, before the effect; after it, the failure is an answer that was lost.
absl::Status MayFail(std::string_view place);

}  // namespace once::testing
