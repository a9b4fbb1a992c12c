// One execution: workers that are driven, killed and restarted, until nothing is left to do.
#include "once/testing/simulation.h"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/log.h"

namespace once::testing {
namespace {

class SimulatedRandom : public Random {
 public:
  explicit SimulatedRandom(std::uint64_t seed) : generator_(seed) {}
  std::uint64_t Next() override { return generator_.Next(); }

 private:
  SplitMix generator_;
};

// The engine's events, as lines of the history.
class HistoryLog : public LogSink {
 public:
  HistoryLog(InvariantChecker& checker, std::string who)
      : checker_(checker), who_(std::move(who)) {}
  LogLevel level() const override { return LogLevel::kDebug; }
  void Log(const LogEvent& event) override {
    int partition = -1;
    std::string id;
    for (const LogField& field : event.fields) {
      if (field.name == "messaging.destination.partition.id")
        partition = std::atoi(field.value.c_str());
      if (field.name == "once.id") id = field.value;
    }
    const std::string line = event.message.substr(0, event.message.find('\n'));
    checker_.Record(who_, absl::StrCat("says ", ToAbsl(event.action), ": ", line), partition, id);
  }

 private:
  InvariantChecker& checker_;
  std::string who_;
};

constexpr absl::Duration kMonitorInterval = absl::Milliseconds(200);
constexpr absl::Duration kRestartAfterError = absl::Milliseconds(100);
constexpr std::size_t kLetterBytesMax = 8 * 1024;

// One execution.
class Simulation {
 public:
  Simulation(const Scenario& scenario, Oracle& oracle, bool is_recording);
  Report Run();

 private:
  struct Worker {
    int index = 0;
    Drive drive = Drive::kStep;
    int incarnations = 0;
    int stop_after = 0;   // 0: no graceful stop, or it has been
    int rounds = 0;       // since the last fault
    int idle_rounds = 0;  // since there was nothing left to do
    std::shared_ptr<Process> process;
    std::stop_source stop;
    const Subject* subject = nullptr;
  };

  void AppendMessages();
  void Append(const ScenarioMessage& message);
  void DriveWorker(Worker& worker);
  void DriveSteps(Worker& worker, Subject& subject);
  void Monitor();
  void AfterRound(Worker& worker);
  void CheckStop(const Worker& worker, const absl::Status& status);
  void CheckLetters();
  void CheckStats();
  bool IsIdle() const;
  void CheckProgress();
  void FailDrained(std::string why);
  void Finish();
  void CleanUp(FiberScheduler::End end);
  void CheckOutcomes();
  SubjectParts MakeParts(Worker& worker);
  Outcome Handle(Process& process, const Message& message, Transaction& transaction);
  const ScenarioMessage* Truth(const Message& message) const;
  std::string Complaints() const;

  const Scenario& scenario_;
  Oracle& oracle_;
  InvariantChecker checker_;
  FiberScheduler scheduler_;
  SeamGate gate_;
  FakeLog log_;
  FakeStore store_;
  FakeTopics topics_;
  std::vector<Worker> workers_;
  std::map<std::pair<int, std::int64_t>, const ScenarioMessage*> truth_;
  std::map<std::string, int> invocations_;
  std::size_t not_appended_ = 0;
  bool is_over_ = false;
  bool has_stats_ = false;
  ConsumerStats counted_;  // by all workers together
  int restarts_ = 0;
  int faults_seen_ = 0;
  absl::Time last_disturbance_;
};

Simulation::Simulation(const Scenario& scenario, Oracle& oracle, bool is_recording)
    : scenario_(scenario),
      oracle_(oracle),
      checker_({.scope = GroupTopicScope("group", "orders"),
                .ignored = scenario.ignored,
                .is_recording = is_recording}),
      scheduler_(oracle),
      gate_(scheduler_, {.faults = scenario.faults, .grain = scenario.grain}),
      log_(gate_,
           {.partitions = scenario.partitions,
            .protocol = scenario.protocol,
            .messages_per_poll = scenario.messages_per_poll,
            .is_partial = scenario.has_partial_polls},
           &checker_),
      store_(gate_,
             {.model = scenario.store_model,
              .locks_found_ids = scenario.locks_found_ids,
              .reuses_sequences = scenario.reuses_sequences},
             &checker_),
      topics_(gate_, {.message_bytes_max = kLetterBytesMax}, &checker_),
      last_disturbance_(scheduler_.Now()) {
  checker_.Watch(scheduler_, log_);
  if (!is_recording) return;
  gate_.set_on_call([this](Process& process, Seam seam, Fault fault) {
    if (fault == Fault::kNone) return;
    checker_.Record(process.name(), absl::StrCat("FAULT at ", ToAbsl(ToString(seam)), ": ",
                                                 ToAbsl(ToString(fault))));
  });
}

void Simulation::Append(const ScenarioMessage& message) {
  LogRecord record;
  record.key = absl::StrCat("key-", message.id);
  record.value = message.value.empty() ? absl::StrCat("value of ", message.id) : message.value;
  if (message.is_too_large) record.value->resize(kLetterBytesMax, 'x');
  if (!message.id.empty()) record.headers.push_back({.name = "id", .value = message.id});
  if (scenario_.has_holes) log_.SkipOffset(message.partition);
  const std::int64_t offset = log_.Append(message.partition, std::move(record));
  truth_[{message.partition, offset}] = &message;
  --not_appended_;
  last_disturbance_ = scheduler_.Now();
}

void Simulation::AppendMessages() {
  not_appended_ = scenario_.messages.size();
  for (const ScenarioMessage& message : scenario_.messages) {
    if (message.delay <= absl::ZeroDuration()) {
      Append(message);
    } else {
      scheduler_.At(scheduler_.Now() + message.delay, [this, &message] { Append(message); });
    }
  }
}

const ScenarioMessage* Simulation::Truth(const Message& message) const {
  const auto it = truth_.find({message.partition(), message.offset()});
  return it == truth_.end() ? nullptr : it->second;
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
  checker_.OnHandler(process, message, *effects);
  const int invocation = ++invocations_[std::string(message.id())];
  // A failing handler has begun to write: nothing of that may stay.
  effects->Append(message);
  if (fault == Fault::kCrashAfter) gate_.Crash(process);
  if (truth->duration > absl::ZeroDuration()) {
    scheduler_.SleepUntil(scheduler_.Now() + truth->duration);
  }
  switch (truth->handling) {
    case Handling::kDone:
      return Done();
    case Handling::kFailFirst:
      if (invocation > truth->failures) return Done();
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

SubjectParts Simulation::MakeParts(Worker& worker) {
  const std::shared_ptr<Process> process = worker.process;
  std::unique_ptr<LogSource> source = log_.Connect(process);
  std::shared_ptr<DedupStore> store = store_.Connect(process);
  if (scenario_.wrap_source) source = scenario_.wrap_source(std::move(source));
  if (scenario_.wrap_store) store = scenario_.wrap_store(std::move(store));
  std::shared_ptr<LogSink> log = NoLog();
  if (checker_.is_recording()) log = std::make_shared<HistoryLog>(checker_, process->name());
  return {
      .scenario = scenario_,
      .process = process,
      .source = std::move(source),
      .store = std::move(store),
      .dead_letters = topics_.Connect(process),
      .random = std::make_shared<SimulatedRandom>(static_cast<std::uint64_t>(process->number()) *
                                                  0x9E3779B97F4A7C15u),
      .log = std::move(log),
      .handler = [this, weak = process.get()](const Message& message, Transaction& transaction) {
        return Handle(*weak, message, transaction);
      }};
}

void Simulation::DriveWorker(Worker& worker) {
  while (!is_over_) {
    worker.process =
        scheduler_.NewProcess(absl::StrCat("worker-", worker.index, ".", ++worker.incarnations));
    scheduler_.MoveToProcess(worker.process);
    absl::StatusOr<std::unique_ptr<Subject>> subject = scenario_.make_subject(MakeParts(worker));
    if (!subject.ok()) {
      checker_.Fail(Check::kMisuse, absl::StrCat("cannot be made: ", subject.status().ToString()));
      break;
    }
    worker.subject = subject->get();
    absl::Status status;
    if (worker.drive == Drive::kRun) {
      worker.stop = std::stop_source();
      status = (*subject)->Run(worker.stop.get_token());
      CheckStop(worker, status);
      if (checker_.is_recording()) {
        checker_.Record(worker.process->name(), "Run → " + status.ToString());
      }
    } else {
      DriveSteps(worker, **subject);
    }
    worker.subject = nullptr;
    if (const std::optional<ConsumerStats> stats = (*subject)->stats()) counted_ += *stats;
    has_stats_ = has_stats_ || (*subject)->stats().has_value();
    *subject = nullptr;
    const bool was_killed = worker.process->is_dead();
    // The process has ended by itself: its sessions end with it.
    scheduler_.MoveToProcess(nullptr);
    if (!was_killed) scheduler_.Kill(*worker.process);
    worker.process = nullptr;
    if (is_over_) break;
    ++restarts_;
    const absl::Duration pause = was_killed ? scenario_.restart_after : kRestartAfterError;
    if (pause > absl::ZeroDuration()) scheduler_.SleepUntil(scheduler_.Now() + pause);
  }
}

void Simulation::DriveSteps(Worker& worker, Subject& subject) {
  Process& process = *worker.process;
  while (!is_over_ && !process.is_dead()) {
    const absl::StatusOr<bool> stepped = subject.Step();
    if (process.is_dead()) return;
    if (!stepped.ok()) {
      if (checker_.is_recording()) {
        checker_.Record(process.name(), "Step → " + stepped.status().ToString());
      }
      ++worker.rounds;
      CheckProgress();
      return;
    }
    AfterRound(worker);
    if (worker.stop_after > 0 && --worker.stop_after == 0) break;
    if (!is_over_) scheduler_.Yield();
  }
  if (!process.is_dead()) CheckStop(worker, subject.Stop());
}

// Without a fault nothing excuses a stop that fails.
void Simulation::CheckStop(const Worker& worker, const absl::Status& status) {
  if (status.ok() || worker.process->is_dead() || oracle_.faults_used() > 0) return;
  // A batch at hand may run its handlers twice before it ends.
  absl::Duration slowest;
  for (const ScenarioMessage& message : scenario_.messages) slowest += 2 * message.duration;
  const bool has_slow_handlers = slowest > scenario_.times.stop_deadline;
  if (has_slow_handlers && absl::IsDeadlineExceeded(status)) return;
  checker_.Fail(Check::kEnds, absl::StrCat(worker.process->name(),
                                           " stops without a fault and says ", status.ToString()));
}

bool Simulation::IsIdle() const {
  return not_appended_ == 0 && scheduler_.stalled_process() == nullptr && store_.in_flight() == 0 &&
         checker_.IsDrained(store_.state());
}

void Simulation::AfterRound(Worker& worker) {
  ++worker.rounds;
  if (!IsIdle()) {
    for (Worker& other : workers_) other.idle_rounds = 0;
  } else {
    ++worker.idle_rounds;
  }
  const bool is_over = std::all_of(workers_.begin(), workers_.end(), [this](const Worker& other) {
    return other.drive == Drive::kRun || other.idle_rounds >= scenario_.idle_rounds;
  });
  const bool has_runners = std::any_of(workers_.begin(), workers_.end(), [](const Worker& other) {
    return other.drive == Drive::kRun;
  });
  if (is_over && !has_runners) Finish();
  CheckProgress();
}

// No fault and nothing new for long, and still work to do: it will never be done.
void Simulation::CheckProgress() {
  if (oracle_.faults_used() != faults_seen_) {
    faults_seen_ = oracle_.faults_used();
    last_disturbance_ = scheduler_.Now();
    for (Worker& worker : workers_) worker.rounds = 0;
  }
  if (is_over_ || IsIdle()) return;
  const bool is_out_of_rounds =
      std::all_of(workers_.begin(), workers_.end(), [this](const Worker& worker) {
        return worker.drive == Drive::kRun || worker.rounds >= scenario_.rounds_max;
      });
  const bool is_out_of_time = scheduler_.Now() - last_disturbance_ > scenario_.drain_max;
  const bool has_steppers = std::any_of(workers_.begin(), workers_.end(), [](const Worker& worker) {
    return worker.drive == Drive::kStep;
  });
  if (is_out_of_time || (has_steppers && is_out_of_rounds)) FailDrained("nothing moves any more");
}

std::string Simulation::Complaints() const {
  std::string text;
  for (const Worker& worker : workers_) {
    if (worker.subject == nullptr) continue;
    const std::string complaint = worker.subject->Complaint();
    if (!complaint.empty()) absl::StrAppend(&text, "; worker-", worker.index, ": ", complaint);
  }
  return text;
}

void Simulation::FailDrained(std::string why) {
  for (const auto& [place, message] : truth_) {
    if (!checker_.OutcomeOf(store_.state(), place.first, place.second).empty()) continue;
    checker_.Fail(Check::kDrained,
                  absl::StrCat(why, ": ", message->id, " at offset ", place.second,
                               " of partition ", place.first, " is not handled", Complaints()),
                  place.first, message->id);
    return;
  }
  checker_.Fail(Check::kDrained,
                absl::StrCat(why, ": positions or letters are behind", Complaints()));
}

void Simulation::Finish() {
  is_over_ = true;
  oracle_.Quiet();
  for (Worker& worker : workers_) {
    if (worker.drive == Drive::kRun) worker.stop.request_stop();
  }
}

// Looks after workers that run by themselves: Run() has no rounds to count.
void Simulation::Monitor() {
  int idle = 0;
  while (!is_over_) {
    scheduler_.SleepUntil(scheduler_.Now() + kMonitorInterval);
    if (is_over_) return;
    CheckProgress();
    for (Worker& worker : workers_) {
      const bool is_due = worker.drive == Drive::kRun && worker.stop_after > 0;
      if (is_due && --worker.stop_after == 0) worker.stop.request_stop();
    }
    idle = IsIdle() ? idle + 1 : 0;
    if (idle > scenario_.idle_rounds) Finish();
  }
}

void Simulation::CleanUp(FiberScheduler::End end) {
  if (end == FiberScheduler::End::kDeadlock)
    checker_.Fail(Check::kEnds, "everybody waits for ever");
  if (end == FiberScheduler::End::kLivelock) {
    checker_.Fail(Check::kEnds, "somebody spins: no end after very many switches");
  }
  is_over_ = true;
  oracle_.Quiet();
  for (Worker& worker : workers_) {
    worker.stop.request_stop();
    if (worker.process != nullptr) scheduler_.Kill(*worker.process);
  }
  scheduler_.set_switches_max(INT64_MAX);
  while (end == FiberScheduler::End::kStopped || end == FiberScheduler::End::kDeadlock ||
         end == FiberScheduler::End::kLivelock) {
    const FiberScheduler::End before = end;
    end = scheduler_.Run();
    if (end == FiberScheduler::End::kFinished) return;
    if (end == before && end != FiberScheduler::End::kStopped) break;
  }
  if (end == FiberScheduler::End::kFinished) return;
  std::fprintf(stderr,
               "once: a dead worker does not end: its loop ignores kCancelled.\n%s\nchoices: %s\n",
               checker_.violation() ? checker_.violation()->what.c_str() : "",
               oracle_.ChoiceString().c_str());
  std::abort();
}

// What the handler wants of a message is what becomes of it, where only one answer is right.
void Simulation::CheckOutcomes() {
  for (const auto& [place, message] : truth_) {
    const std::string outcome = checker_.OutcomeOf(store_.state(), place.first, place.second);
    const bool has_rival =
        std::any_of(scenario_.messages.begin(), scenario_.messages.end(),
                    [message = message](const ScenarioMessage& other) {
                      return other.id == message->id && other.value != message->value;
                    });
    bool is_right = true;
    if (message->id.empty()) {
      is_right = outcome == "letter";
    } else if (!has_rival) {
      switch (message->handling) {
        case Handling::kDone:
        case Handling::kThrow:
          is_right = outcome == "effect";
          break;
        case Handling::kFailFirst:
          is_right =
              outcome == (message->failures < scenario_.retry.max_attempts ? "effect" : "letter");
          break;
        case Handling::kFailAlways:
        case Handling::kReject:
          is_right = outcome == "letter" || outcome == "dead";
          break;
        case Handling::kSkip:
          is_right = outcome == "skip";
          break;
      }
    }
    if (is_right) continue;
    checker_.Fail(Check::kRightOutcome,
                  absl::StrCat(message->id, " at offset ", place.second, " of partition ",
                               place.first, " ends as \"", outcome, "\""),
                  place.first, message->id);
  }
}

// What the outbox calls published was published, and only what the broker refuses is parked.
void Simulation::CheckLetters() {
  for (const OutboxEntry& entry : store_.state().outbox) {
    const OutgoingMessage& letter = entry.row.message;
    const bool is_stored = std::any_of(
        topics_.messages().begin(), topics_.messages().end(), [&](const OutgoingMessage& stored) {
          return stored.topic == letter.topic && stored.key == letter.key &&
                 stored.value == letter.value && stored.headers == letter.headers;
        });
    const bool is_refused = SizeBytes(letter) > kLetterBytesMax;
    if (is_stored == entry.is_published && is_refused == entry.is_parked) continue;
    checker_.Fail(
        Check::kPublished,
        absl::StrCat("the letter of offset ", entry.row.origin.offset, " of partition ",
                     entry.row.origin.key.partition.partition, " is ", is_stored ? "" : "not ",
                     "in its topic, ", is_refused ? "" : "not ",
                     "refused by the broker, and in the outbox ", entry.is_published ? "" : "not ",
                     "published, ", entry.is_parked ? "" : "not ", "parked"),
        entry.row.origin.key.partition.partition);
  }
}

// Without a fault every message is counted once, and as what it became.
void Simulation::CheckStats() {
  if (!has_stats_ || oracle_.faults_used() > 0) return;
  const ConsumerStats& counted = counted_;
  const std::uint64_t sum =
      counted.processed + counted.duplicates + counted.dead_lettered + counted.discarded;
  const bool is_right = sum == truth_.size() &&
                        counted.processed == store_.state().effects.size() &&
                        counted.dead_lettered == store_.state().outbox.size();
  if (is_right) return;
  checker_.Fail(Check::kRightOutcome,
                absl::StrCat("the counts are wrong: ", counted.processed, " processed, ",
                             counted.duplicates, " duplicates, ", counted.dead_lettered,
                             " dead letters, ", counted.discarded, " discarded; there are ",
                             truth_.size(), " messages, ", store_.state().effects.size(),
                             " effects, ", store_.state().outbox.size(), " letters"));
}

Report Simulation::Run() {
  AppendMessages();
  const absl::Time begin = scheduler_.Now();
  workers_.resize(static_cast<std::size_t>(scenario_.workers));
  bool has_runners = false;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    Worker& worker = workers_[i];
    worker.index = static_cast<int>(i);
    if (i < scenario_.drives.size()) worker.drive = scenario_.drives[i];
    if (i < scenario_.stop_after.size()) worker.stop_after = scenario_.stop_after[i];
    has_runners = has_runners || worker.drive == Drive::kRun;
    scheduler_.Spawn("worker", nullptr, [this, &worker] { DriveWorker(worker); });
  }
  if (has_runners) scheduler_.Spawn("monitor", nullptr, [this] { Monitor(); });
  const FiberScheduler::End end = scheduler_.Run();
  if (end != FiberScheduler::End::kFinished) CleanUp(end);
  if (!checker_.violation().has_value()) checker_.CheckEnd(store_.state());
  if (!checker_.violation().has_value()) CheckOutcomes();
  if (!checker_.violation().has_value()) CheckLetters();
  if (!checker_.violation().has_value()) CheckStats();

  Report report;
  report.violation = checker_.violation();
  report.choices = oracle_.ChoiceString();
  report.trace_hash = oracle_.trace_hash();
  report.points = gate_.points();
  report.calls = gate_.calls();
  report.faults = oracle_.faults_used();
  report.preemptions = oracle_.preemptions_used();
  report.restarts = restarts_;
  report.virtual_time = scheduler_.Now() - begin;
  report.history = checker_.history();
  if (checker_.is_recording()) {
    for (const auto& [place, message] : truth_) {
      report.outcomes.push_back(
          absl::StrCat("orders[", place.first, "]@", place.second, " ", message->id, ": ",
                       checker_.OutcomeOf(store_.state(), place.first, place.second)));
    }
  }
  return report;
}

}  // namespace

Report RunOnce(const Scenario& scenario, Oracle& oracle, bool is_recording) {
  return Simulation(scenario, oracle, is_recording).Run();
}

}  // namespace once::testing
