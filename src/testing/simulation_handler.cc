// What the handlers of a scenario do.
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/testing/simulation_run.h"

namespace once::testing {

const ScenarioMessage* Simulation::Truth(const Message& message) const {
  const auto it = truth_.find({message.partition(), message.offset()});
  return it == truth_.end() ? nullptr : it->second;
}

// False when the handler must not have been called at all.
bool Simulation::CheckHandled(const Message& message) {
  if (act() == nullptr || !act()->is_refused) return true;
  checker_.Fail(Check::kIdentity,
                absl::StrCat("the handler runs for ", ToAbsl(message.id()),
                             " although the log or the store is another one than before"),
                message.partition(), std::string(message.id()));
  return false;
}

bool Simulation::DiesOf(const ScenarioMessage& message, Process& process) {
  const auto before = deaths_.find(message.id);
  const int died = before == deaths_.end() ? 0 : before->second;
  const bool is_deadly = message.handling == Handling::kDieAlways ||
                         (message.handling == Handling::kDieFirst && died < message.failures);
  if (!is_deadly) return false;
  const int deaths = ++deaths_[message.id];
  // In a batch that nobody expects to fail, a death is charged to nobody; only a fault can bring
  // about more than one such batch in a partition.
  const int deaths_max = scenario_.retry.max_attempts + (is_plain() ? 0 : scenario_.partitions);
  // A store that loses its tail forgets attempts: then they begin anew.
  const int forgotten_max = oracle_.faults_used() * scenario_.retry.max_attempts;
  if (deaths > deaths_max + forgotten_max) {
    checker_.Fail(Check::kAttempts,
                  absl::StrCat(message.id, " has killed ", deaths, " processes, there may be ",
                               scenario_.retry.max_attempts, " attempts"),
                  message.partition, message.id);
  }
  if (checker_.is_recording()) {
    checker_.Record(process.name(), "is killed by the handler", message.partition, message.id);
  }
  gate_.Crash(process);
  return true;
}

Outcome Simulation::Answer(const ScenarioMessage& message, int invocation) const {
  switch (message.handling) {
    case Handling::kDone:
    case Handling::kDieFirst:
    case Handling::kDieAlways:
      return Done();
    case Handling::kFailFirst:
      if (invocation > message.failures) return Done();
      return absl::UnavailableError("the handler fails for now");
    case Handling::kFailAlways:
      return absl::UnavailableError("the handler fails always");
    case Handling::kThrow:
      if (invocation > 1) return Done();
      throw std::runtime_error("the handler throws");
    case Handling::kReject:
      return Reject("the handler rejects");
    case Handling::kSkip:
      return Skip("the handler skips");
  }
  return Done();
}

Outcome Simulation::Handle(Process& process, const Message& message, Transaction& transaction) {
  EffectWriter* effects = Effects(transaction);
  const ScenarioMessage* truth = Truth(message);
  const Fault fault = gate_.Pass(process, Seam::kHandler);
  if (process.is_dead()) return absl::CancelledError("the process is dead");
  if (effects == nullptr || truth == nullptr) {
    checker_.Fail(Check::kMisuse, "the handler got a message or transaction that is not of here");
    return absl::InternalError("no effects");
  }
  if (!CheckHandled(message)) return absl::InternalError("must not run");
  checker_.OnHandler(process, message, *effects);
  int invocation = ++invocations_[std::string(message.id())];
  // Whatever a neighbour does to it: an invocation that came to nothing is no attempt.
  if (scenario_.has_batch_handler) invocation = message.attempt();
  // A failing handler has begun to write: nothing of that may stay.
  effects->Append(message);
  if (DiesOf(*truth, process)) return absl::CancelledError("the process is dead");
  if (fault == Fault::kCrashAfter) gate_.Crash(process);
  if (truth->duration > absl::ZeroDuration()) {
    scheduler_.SleepUntil(scheduler_.Now() + truth->duration);
  }
  return Answer(*truth, invocation);
}

Outcome Simulation::HandlePlain(Process& process, const Message& message) {
  const absl::Status dead = absl::CancelledError("the process is dead");
  if (process.is_dead()) return dead;
  const ScenarioMessage* truth = Truth(message);
  if (truth == nullptr) {
    checker_.Fail(Check::kMisuse, "the handler got a message that is not of here");
    return absl::InternalError("no such message");
  }
  if (!CheckHandled(message)) return absl::InternalError("must not run");
  checker_.CheckMessage(message);
  checker_.claims().OnHandler(process, message, store().state());
  const int invocation = ++invocations_[std::string(message.id())];
  if (DiesOf(*truth, process)) return dead;
  if (truth->duration > absl::ZeroDuration()) {
    scheduler_.SleepUntil(scheduler_.Now() + truth->duration);
  }
  // Here a process may sleep for longer than its lease, and then act.
  const Fault fault = gate_.Pass(process, Seam::kPlainHandler);
  if (process.is_dead()) return dead;
  bool is_done = false;
  try {
    Outcome outcome = Answer(*truth, invocation);
    is_done = outcome.is_done();
    if (is_done) checker_.claims().OnEffect(process, message);
    if (fault == Fault::kCrashAfter) gate_.Crash(process);
    if (!process.is_dead()) checker_.claims().OnReturn(process, message, is_done);
    return outcome;
  } catch (...) {
    checker_.claims().OnReturn(process, message, false);
    throw;
  }
}

// The downstream knows.
Reconciled Simulation::Reconcile(const Message& message) const {
  return checker_.claims().HasEffect(message) ? Reconciled::kHappened : Reconciled::kNotHappened;
}

}  // namespace once::testing
