// Processes one after the other, on the thread of the test: nothing here needs a second fibre.
#include "src/testing/crash_execution.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/log.h"
#include "src/testing/simulated_random.h"

namespace once::testing {
namespace {

constexpr FaultSet kFaults = {Fault::kFailure, Fault::kUnknownApplied, Fault::kUnknownNotApplied,
                              Fault::kCrashBefore, Fault::kCrashAfter};
constexpr absl::Duration kTick = absl::Milliseconds(500);
// Of one process; for engines that move nothing and let no time pass.
constexpr int kRoundsMax = 50'000;
constexpr int kStartsMax = 50;
constexpr int kPartitionsMax = 16;
// A letter may be on its way after its message is settled.
constexpr int kIdleRoundsMax = 20;
constexpr std::string_view kCrash = "crash";

// Leaves a handler whose process dies in its middle.
struct ProcessDied {};

// Whose handler runs on this thread.
thread_local CrashExecution* running = nullptr;

// The engine's events, for the witness.
class CrashLog : public LogSink {
 public:
  CrashLog(const CrashLedger& ledger, std::shared_ptr<const Process> process)
      : ledger_(ledger), process_(std::move(process)) {}
  LogLevel level() const override { return LogLevel::kInfo; }
  void Log(const LogEvent& event) override {
    if (process_->is_dead()) return;
    ledger_.Record(*process_, absl::StrCat("says ", ToAbsl(event.action), ": ",
                                           event.message.substr(0, event.message.find('\n'))));
  }

 private:
  const CrashLedger& ledger_;
  std::shared_ptr<const Process> process_;
};

int PartitionsOf(const CrashTest& test) {
  int last = 0;
  for (const CrashMessage& message : test.messages) last = std::max(last, message.partition);
  return std::min(last + 1, kPartitionsMax);
}

const std::string* FindHeader(const OutgoingMessage& letter, std::string_view name) {
  for (const OwnedHeader& header : letter.headers) {
    if (header.name == name && header.value.has_value()) return &*header.value;
  }
  return nullptr;
}

std::string Show(const MessageName& name) {
  return absl::StrCat("message \"", name.first, "\" (", name.second, ")");
}

std::string ShowOutcome(const Outcome& outcome) {
  if (outcome.is_done()) return "OK";
  switch (outcome.kind()) {
    case OutcomeKind::kReject:
      return absl::StrCat("Reject: ", outcome.status().message());
    case OutcomeKind::kSkip:
      return absl::StrCat("Skip: ", outcome.status().message());
    case OutcomeKind::kPause:
      return absl::StrCat("Pause: ", outcome.status().message());
    default:
      return outcome.status().ToString();
  }
}

}  // namespace

CrashExecution::CrashExecution(const CrashTest& test, const std::string& folder, Oracle& oracle,
                               bool is_recording)
    : test_(test),
      oracle_(oracle),
      scheduler_(oracle),
      clock_(std::make_shared<const FiberScheduler*>(&scheduler_)),
      gate_(scheduler_, {.faults = kFaults, .grain = Grain::kFine}),
      log_(gate_, {.partitions = PartitionsOf(test), .messages_per_poll = test.messages_per_poll},
           nullptr),
      topics_(gate_, {}, nullptr) {
  if (is_recording) ledger_.history = &result_.history;
  world_.folder = folder;
  // A store may outlive this world: the clock stands still then.
  world_.now = [clock = clock_, last = scheduler_.Now()]() mutable {
    if (*clock != nullptr) last = (*clock)->Now();
    return last;
  };
  gate_.set_on_call([this](Process& process, Seam seam, Fault fault) {
    const std::string name(ToString(seam));
    result_.reached.insert(name);
    ++calls_[{process.name(), name}];
    if (fault != Fault::kNone) Strike(process.name(), name, ToString(fault));
  });
}

void CrashExecution::Strike(std::string_view process, std::string_view place,
                            std::string_view fault) {
  const std::string name(place);
  result_.struck.push_back(absl::StrCat(name, "/", ToAbsl(fault)));
  result_.faults.push_back(absl::StrCat(ToAbsl(process), ", ", name, " ",
                                        calls_[{std::string(process), name}], ": ", ToAbsl(fault)));
  if (ledger_.history != nullptr) ledger_.history->push_back("FAULT " + result_.faults.back());
}

bool CrashExecution::Strikes(std::string_view place, std::string_view fault) {
  if (is_dying_) return false;
  const std::string process = absl::StrCat("process-", starts_);
  const std::string name = absl::StrCat("handler:", ToAbsl(place));
  result_.reached.insert(name);
  ++calls_[{process, name}];
  if (oracle_.Choose(absl::StrCat(name, "/", ToAbsl(fault)), 2, Cost::kFault) == 0) return false;
  Strike(process, name, fault);
  is_dying_ = fault == kCrash;
  return true;
}

void CrashExecution::Append(const CrashMessage& message) {
  LogRecord record{.key = message.key, .value = message.value, .headers = message.headers};
  if (!message.id.empty()) record.headers.push_back({.name = "id", .value = message.id});
  const std::string topic = log_.options().topic;
  const Message view({.topic = topic,
                      .partition = message.partition,
                      .timestamp_ms = record.timestamp_ms,
                      .key = message.key,
                      .value = message.value,
                      .header_reader = OwnedHeaderReader(),
                      .headers_object = &record.headers});
  std::string scratch;
  Truth truth{.place = {.partition = {.topic = topic, .partition = message.partition}}};
  const std::optional<std::string_view> id = test_.id.Extract(view, scratch);
  if (id.has_value()) truth.name = MessageName(*id, message.value);
  truth.place.offset = log_.Append(message.partition, std::move(record));
  truth_.push_back(std::move(truth));
}

Outcome CrashExecution::Invoke(Process& process, absl::FunctionRef<Outcome()> handler) {
  CrashExecution* const before = std::exchange(running, this);
  const absl::Cleanup restore = [before] { running = before; };
  try {
    Outcome outcome = handler();
    if (!is_dying_) return outcome;
  } catch (const ProcessDied&) {
  } catch (...) {
    if (!is_dying_) throw;
  }
  is_dying_ = false;
  gate_.Crash(process);
  return absl::CancelledError("crash test: the process is dead");
}

Outcome CrashExecution::Handle(Process& process, const TransactionalHandlerFunction& handler,
                               const Message& message, Transaction& transaction) {
  const Fault fault = gate_.Pass(process, Seam::kHandler);
  const absl::Status dead = absl::CancelledError("crash test: the process is dead");
  if (process.is_dead()) return dead;
  auto& gated = static_cast<CrashTransaction&>(transaction);
  Record(process,
         absl::StrCat("handler of ", Show(NameOf(message)), ", attempt ", message.attempt()));
  const Outcome outcome = Invoke(process, [&] { return handler(message, gated.inner()); });
  if (process.is_dead()) return dead;
  Record(process, absl::StrCat("handler of ", Show(NameOf(message)), " → ", ShowOutcome(outcome)));
  gated.Note(message, outcome);
  if (fault == Fault::kCrashAfter) gate_.Crash(process);
  return outcome;
}

Outcome CrashExecution::HandlePlain(Process& process, const PlainHandlerFunction& handler,
                                    const Message& message) {
  const Fault fault = gate_.Pass(process, Seam::kPlainHandler);
  const absl::Status dead = absl::CancelledError("crash test: the process is dead");
  if (process.is_dead()) return dead;
  const MessageName name = NameOf(message);
  Record(process, absl::StrCat("handler of ", Show(name), ", attempt ", message.attempt(),
                               message.maybe_repeated() ? ", maybe repeated" : ""));
  const Outcome outcome = Invoke(process, [&] { return handler(message); });
  if (process.is_dead()) return dead;
  Record(process, absl::StrCat("handler of ", Show(name), " → ", ShowOutcome(outcome)));
  if (outcome.kind() == OutcomeKind::kSkip) ledger_.settled.insert(name);
  if (outcome.is_done() && ++ledger_.runs[name] > 1) {
    if (message.maybe_repeated()) {
      ++ledger_.announced_repeats;
    } else {
      ledger_.unannounced.push_back(name);
    }
  }
  if (fault == Fault::kCrashAfter) gate_.Crash(process);
  return outcome;
}

Reconciled CrashExecution::Reconcile(Process& process, const Message& message) {
  if (process.is_dead()) return Reconciled::kUnknown;
  const Reconciled answer = test_.claims.reconcile(message);
  if (answer == Reconciled::kHappened) ledger_.settled.insert(NameOf(message));
  return answer;
}

absl::StatusOr<std::unique_ptr<Consumer>> CrashExecution::Start(
    const std::shared_ptr<Process>& process) {
  absl::StatusOr<std::shared_ptr<DedupStore>> store = test_.open_store(world_);
  if (!store.ok()) return Annotate(store.status(), "open_store");
  if (*store == nullptr) return absl::InvalidArgumentError("open_store: it returned null");
  std::shared_ptr<LogSink> log = NoLog();
  if (ledger_.history != nullptr) log = std::make_shared<CrashLog>(ledger_, process);
  ConsumerOptions options{
      .source = log_.Connect(process),
      .store = std::make_shared<CrashStore>(gate_, process, ledger_, *std::move(store)),
      .id = test_.id,
      .retry = test_.retry,
      .dead_letters = {.publisher = topics_.Connect(process)},
      .claims = test_.claims,
      .limits = test_.limits,
      .times = {.poll_timeout = kTick, .commit_interval = kTick},
      .log = std::move(log),
      .executor = process,
      .random = std::make_shared<SimulatedRandom>(static_cast<std::uint64_t>(starts_))};
  Process* const running_process = process.get();
  if (test_.claims.reconcile) {
    options.claims.reconcile = [this, running_process](const Message& message) {
      return Reconcile(*running_process, message);
    };
  }
  // Copies: see CrashHandler.
  if (test_.handler.is_plain()) {
    return Consumer::Create(
        std::move(options),
        PlainHandlerFunction([this, running_process,
                              handler = std::get<PlainHandlerFunction>(test_.handler.function())](
                                 const Message& message) {
          return HandlePlain(*running_process, handler, message);
        }));
  }
  return Consumer::Create(
      std::move(options),
      TransactionalHandlerFunction(
          [this, running_process,
           handler = std::get<TransactionalHandlerFunction>(test_.handler.function())](
              const Message& message, Transaction& transaction) {
            return Handle(*running_process, handler, message, transaction);
          }));
}

bool CrashExecution::HasOutcome(const Truth& message) const {
  const bool is_done = message.name.has_value() && (ledger_.runs.contains(*message.name) ||
                                                    ledger_.settled.contains(*message.name));
  if (is_done) return true;
  const std::vector<OutgoingMessage>& letters = topics_.messages();
  return std::any_of(letters.begin(), letters.end(), [&](const OutgoingMessage& letter) {
    const std::string* partition = FindHeader(letter, "once-origin-partition");
    const std::string* offset = FindHeader(letter, "once-origin-offset");
    const std::string* id = FindHeader(letter, "once-id");
    const bool is_origin = partition != nullptr && offset != nullptr &&
                           *partition == absl::StrCat(message.place.partition.partition) &&
                           *offset == absl::StrCat(message.place.offset);
    const bool is_copy = id != nullptr && message.name.has_value() && *id == message.name->first &&
                         letter.value == message.name->second;
    return is_origin || is_copy;
  });
}

// The broker knows that all is handled, and so do we. One of the two is enough for long if nothing
// moves: a letter is on its way; the broker was told, and has not heard it. But in the end, when
// nothing disturbs, it must hear.
bool CrashExecution::IsDrained(int idle_rounds) const {
  if (idle_rounds == 0) return false;
  bool is_acknowledged = true;
  for (int partition = 0; partition < log_.options().partitions; ++partition) {
    const bool is_behind = log_.committed(partition).value_or(0) < log_.end(partition);
    is_acknowledged = is_acknowledged && !is_behind;
  }
  const bool is_handled = std::all_of(truth_.begin(), truth_.end(),
                                      [this](const Truth& one) { return HasOutcome(one); });
  if (is_acknowledged && is_handled) return true;
  if (idle_rounds <= kIdleRoundsMax) return false;
  return is_acknowledged || (is_handled && !is_last_);
}

bool CrashExecution::Drain(Process& process, Consumer& consumer) {
  int faults = oracle_.faults_used();
  int idle_rounds = 0;
  absl::Time begin = scheduler_.Now();
  for (int round = 0; round < kRoundsMax; ++round) {
    const absl::StatusOr<bool> stepped = consumer.Step();
    if (process.is_dead()) return false;
    if (!stepped.ok()) {
      complaint_ = stepped.status().ToString();
      Record(process, "ends: " + complaint_);
      return false;
    }
    idle_rounds = *stepped ? 0 : idle_rounds + 1;
    if (IsDrained(idle_rounds)) return consumer.Stop().ok() && !process.is_dead();
    if (oracle_.faults_used() != faults) {
      faults = oracle_.faults_used();
      begin = scheduler_.Now();
    }
    if (scheduler_.Now() - begin > test_.drain_max) break;
  }
  for (const StoppedPartition& stopped : consumer.stopped_partitions()) {
    absl::StrAppend(&complaint_, ToString(stopped.partition), " is stopped at ", stopped.position,
                    ": ", stopped.reason.ToString(), "; ");
  }
  const std::string hint =
      test_.handler.is_plain() ? "; does the store have CrashWorld::now as its clock?" : "";
  Fail(CrashVerdict::kStuck,
       absl::StrCat("nothing moves any more after ", absl::FormatDuration(scheduler_.Now() - begin),
                    " of simulated time", hint));
  return false;
}

bool CrashExecution::RunProcess() {
  const std::shared_ptr<Process> process =
      scheduler_.NewProcess(absl::StrCat("process-", ++starts_));
  complaint_.clear();
  Record(*process, "starts");
  absl::StatusOr<std::unique_ptr<Consumer>> consumer = Start(process);
  if (!consumer.ok()) {
    const std::string why = consumer.status().ToString();
    if (oracle_.faults_used() == 0) {
      result_.error = Annotate(consumer.status(), process->name() + " cannot start");
    } else {
      Fail(CrashVerdict::kNotRestarted, absl::StrCat(process->name(), " cannot start: ", why));
    }
    return false;
  }
  const bool is_drained = Drain(*process, **consumer);
  // What is left of it must not act any more.
  Record(*process, process->is_dead() ? "is dead" : "has ended");
  if (!process->is_dead()) gate_.Crash(*process);
  consumer->reset();
  return is_drained;
}

void CrashExecution::Fail(CrashVerdict verdict, std::string what) {
  if (result_.verdict != CrashVerdict::kFine) return;
  result_.verdict = verdict;
  result_.what = std::move(what);
}

void CrashExecution::Judge() {
  for (const Truth& message : truth_) {
    if (HasOutcome(message)) continue;
    Fail(
        CrashVerdict::kLost,
        absl::StrCat(message.name.has_value() ? Show(*message.name) : "the message without id",
                     " at offset ", message.place.offset, " of ", ToString(message.place.partition),
                     " is acknowledged, and neither handled nor dead-lettered nor skipped"));
  }
  for (const auto& [name, runs] : ledger_.runs) {
    if (test_.handler.is_plain() || runs == 1) continue;
    Fail(CrashVerdict::kTwice,
         absl::StrCat("the handler of ", Show(name), " is committed ", runs, " times"));
  }
  for (const MessageName& name : ledger_.unannounced) {
    Fail(CrashVerdict::kUnannounced,
         absl::StrCat("the handler of ", Show(name),
                      " succeeded, ran again, and maybe_repeated() was false"));
  }
  if (!test_.check) return;
  world_.letters = topics_.messages();
  const absl::Status checked = test_.check(world_);
  if (checked.ok()) return;
  std::string what = absl::StrCat("check: ", checked.message());
  if (ledger_.announced_repeats > 0) {
    absl::StrAppend(&what, " (the handler was told ", ledger_.announced_repeats,
                    " times by maybe_repeated() that its effect may have happened)");
  }
  Fail(CrashVerdict::kWrongState, std::move(what));
}

CrashResult CrashExecution::Run() {
  // After this world nobody asks its clock, whatever store is left.
  const absl::Cleanup stop_clock = [this] { *clock_ = nullptr; };
  if (test_.reset) result_.error = Annotate(test_.reset(world_), "reset");
  for (const CrashMessage& message : test_.messages) Append(message);
  bool is_drained = false;
  while (result_.error.ok() && result_.verdict == CrashVerdict::kFine && !is_drained) {
    is_drained = RunProcess();
    if (is_drained || starts_ < kStartsMax) continue;
    Fail(CrashVerdict::kStuck, absl::StrCat(starts_, " processes have started and ended"));
  }
  if (is_drained) {
    // Once more, undisturbed: there must be nothing left to do.
    is_last_ = true;
    oracle_.Quiet();
    while (result_.verdict == CrashVerdict::kFine && !RunProcess() && starts_ < 2 * kStartsMax) {
    }
  }
  if (result_.error.ok() && is_drained) Judge();
  if (!result_.what.empty() && !complaint_.empty()) {
    absl::StrAppend(&result_.what, " (", complaint_, ")");
  }
  result_.announced_repeats = ledger_.announced_repeats;
  return std::move(result_);
}

void MayCrash(std::string_view place) {
  if (running == nullptr) return;
  if (running->Strikes(place, kCrash)) throw ProcessDied();
}

absl::Status MayFail(std::string_view place) {
  if (running == nullptr || !running->Strikes(place, "failure")) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("crash test: ", ToAbsl(place), " fails"));
}

}  // namespace once::testing
