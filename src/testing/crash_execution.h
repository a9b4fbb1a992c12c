// One execution of a CrashTest: processes that start, die and start again until all is handled,
// and what is wrong then. The oracle decides where they die.
// Thread-safety: none; see crash_test.h.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "once/testing/crash_test.h"
#include "once/testing/fake_log.h"
#include "once/testing/fake_publisher.h"
#include "once/testing/fiber_executor.h"
#include "once/testing/oracle.h"
#include "once/testing/seam.h"
#include "src/testing/crash_store.h"

namespace once::testing {

struct CrashResult {
  absl::Status error;  // not OK: the test cannot be run
  CrashVerdict verdict = CrashVerdict::kFine;
  std::string what;
  std::vector<std::string> struck;  // "commit/unknown-applied", in order
  std::vector<std::string> faults;  // the same, with process and number of the call
  std::set<std::string> reached;    // "commit"
  std::int64_t announced_repeats = 0;
  std::vector<std::string> history;  // only when recorded
};

class CrashExecution {
 public:
  // All must outlive the execution. `folder` exists and is empty.
  CrashExecution(const CrashTest& test, const std::string& folder, Oracle& oracle,
                 bool is_recording);
  CrashResult Run();

  // Called by MayCrash() and MayFail().
  bool Strikes(std::string_view place, std::string_view fault);

 private:
  struct Truth {
    PartitionOffset place;
    std::optional<MessageName> name;  // nullopt: it has no id
  };

  void Append(const CrashMessage& message);
  // Starts a process and lets it work until it dies, ends, or everything is settled: then it is
  // stopped, and true is returned.
  bool RunProcess();
  absl::StatusOr<std::unique_ptr<Consumer>> Start(const std::shared_ptr<Process>& process);
  bool Drain(Process& process, Consumer& consumer);
  Outcome Handle(Process& process, const TransactionalHandlerFunction& handler,
                 const Message& message, Transaction& transaction);
  Outcome HandlePlain(Process& process, const PlainHandlerFunction& handler,
                      const Message& message);
  Reconciled Reconcile(Process& process, const Message& message);
  // The handler's answer; kCancelled when the process died inside.
  Outcome Invoke(Process& process, absl::FunctionRef<Outcome()> handler);
  void Strike(std::string_view process, std::string_view place, std::string_view fault);
  void Judge();
  bool HasOutcome(const Truth& message) const;
  bool IsDrained(int idle_rounds) const;
  void Fail(CrashVerdict verdict, std::string what);
  void Record(const Process& process, std::string_view what) { ledger_.Record(process, what); }

  const CrashTest& test_;
  Oracle& oracle_;
  CrashResult result_;
  CrashLedger ledger_;
  FiberScheduler scheduler_;
  std::shared_ptr<const FiberScheduler*> clock_;
  CrashWorld world_;
  SeamGate gate_;
  FakeLog log_;
  FakeTopics topics_;
  std::vector<Truth> truth_;
  std::map<std::pair<std::string, std::string>, int> calls_;  // by process and place
  int starts_ = 0;
  bool is_last_ = false;   // all was handled: nothing is left for the process to do
  bool is_dying_ = false;  // a handler is being left by MayCrash()
  std::string complaint_;  // of the last process
};

}  // namespace once::testing
