// One execution: workers that are driven, killed and restarted, until nothing is left to do.
#include <algorithm>
#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/log.h"
#include "once/sequence.h"
#include "src/testing/simulated_random.h"
#include "src/testing/simulation_run.h"

namespace once::testing {
namespace {

constexpr absl::Duration kMonitorInterval = absl::Milliseconds(200);
constexpr absl::Duration kRestartAfterError = absl::Milliseconds(100);

}  // namespace

Simulation::Simulation(const Scenario& scenario, Oracle& oracle, bool is_recording)
    : scenario_(scenario),
      oracle_(oracle),
      checker_(
          {.scope = scenario.has_queue ? NamedScope("orders") : GroupTopicScope("group", "orders"),
           .handler = scenario.handler,
           .attempts_max = scenario.retry.max_attempts,
           .has_queue = scenario.has_queue,
           .ignored = scenario.ignored,
           .is_recording = is_recording}),
      scheduler_(oracle, scenario.fibers),
      gate_(scheduler_,
            {.faults = scenario.faults, .grain = scenario.grain, .stall = scenario.stall}),
      log_(gate_,
           {.partitions = scenario.partitions,
            .protocol = scenario.protocol,
            .messages_per_poll = scenario.messages_per_poll,
            .is_partial = scenario.has_partial_polls},
           &checker_),
      topics_(gate_, {.message_bytes_max = kLetterBytesMax}, &checker_),
      turned_(scheduler_),
      begin_(scheduler_.Now()),
      last_disturbance_(scheduler_.Now()) {
  scheduler_.set_has_free_order(scenario.has_free_order);
  checker_.Watch(scheduler_, log_);
  if (scenario.has_queue) {
    queue_.emplace(gate_, FakeQueueOptions{.prefetch = scenario.prefetch}, &checker_);
  }
  stores_.push_back(NewStore(scenario.has_memory_store ? "" : "first-store"));
  OpenOrigin();
  if (!is_recording) return;
  gate_.set_on_call([this](Process& process, Seam seam, Fault fault) {
    if (fault == Fault::kNone) return;
    checker_.Record(process.name(), absl::StrCat("FAULT at ", ToAbsl(ToString(seam)), ": ",
                                                 ToAbsl(ToString(fault))));
  });
}

std::unique_ptr<FakeStore> Simulation::NewStore(std::string id) {
  return std::make_unique<FakeStore>(
      gate_,
      FakeStoreOptions{
          .model = scenario_.store_model,
          .no_space = scenario_.no_space,
          .locks_found_ids = scenario_.locks_found_ids,
          .reuses_sequences = scenario_.reuses_sequences,
          .loss = scenario_.has_memory_store ? StoreLoss::kTail : scenario_.store_loss,
          .loses_new_rows = scenario_.loses_new_rows || scenario_.has_memory_store,
          .has_one_owner = scenario_.has_one_owner,
          .compares_fences = scenario_.compares_fences,
          .says_claims_in_part = scenario_.says_claims_in_part,
          .tears_words = scenario_.tears_words,
          .durability = scenario_.has_memory_store ? Durability::kNothing : Durability::kMachine,
          .syncs_beside = scenario_.syncs_beside,
          .clock = scenario_.store_clock,
          .id = std::move(id)},
      &checker_);
}

void Simulation::Append(const ScenarioMessage& message) {
  LogRecord record;
  record.key = absl::StrCat("key-", message.id);
  record.value = message.value.empty() ? absl::StrCat("value of ", message.id) : message.value;
  if (message.is_too_large) record.value->resize(kLetterBytesMax, 'x');
  if (!message.id.empty()) record.headers.push_back({.name = "id", .value = message.id});
  if (scenario_.numbers_messages) {
    const std::string stream =
        StreamName(FakeLogOptions().topic, message.partition, {.producer = "producer", .epoch = 1});
    record.headers.push_back(
        {.name = std::string(kSequenceHeader),
         .value = EncodeStamp(stream, NumberOf(message), scenario_.goes_by_numbers)});
  }
  if (scenario_.has_holes) log_.SkipOffset(message.partition);
  const std::string value = *record.value;
  const std::int64_t offset = log_.Append(message.partition, std::move(record));
  if (queue_) queue_->Send({.number = offset, .id = message.id, .value = value});
  truth_[{message.partition, offset}] = &message;
  if (message.lifetime > absl::ZeroDuration()) {
    scheduler_.At(scheduler_.Now() + message.lifetime,
                  [this, offset, &message] { DeleteBefore(message.partition, offset + 1); });
  }
  --not_appended_;
  last_disturbance_ = scheduler_.Now();
}

std::uint64_t Simulation::NumberOf(const ScenarioMessage& message) {
  if (!scenario_.goes_by_numbers || message.id.empty()) return ++numbers_[message.partition];
  const auto [known, is_new] = numbers_by_id_.try_emplace(message.id, 0);
  if (is_new) known->second = ++numbers_[message.partition];
  return known->second;
}

void Simulation::AppendMessages(const std::vector<ScenarioMessage>& messages) {
  not_appended_ = messages.size();
  for (const ScenarioMessage& message : messages) {
    if (message.delay <= absl::ZeroDuration()) {
      Append(message);
    } else {
      scheduler_.At(scheduler_.Now() + message.delay, [this, &message] { Append(message); });
    }
  }
}

SubjectParts Simulation::MakeParts(Worker& worker) {
  const std::shared_ptr<Process> process = worker.process;
  std::unique_ptr<LogSource> source = queue_ ? nullptr : log_.Connect(process);
  std::shared_ptr<DedupStore> connection = store().Connect(process);
  std::shared_ptr<Publisher> publisher = topics_.Connect(process);
  if (scenario_.wrap_source && source != nullptr) source = scenario_.wrap_source(std::move(source));
  if (scenario_.wrap_store) connection = scenario_.wrap_store(std::move(connection));
  if (scenario_.wrap_publisher) publisher = scenario_.wrap_publisher(std::move(publisher));
  auto log = std::make_shared<HistoryLog>(
      checker_, process->name(), [this](const ToldGap& gap) { HearOfGap(gap); },
      origin_ == nullptr);
  SubjectParts parts{.scenario = scenario_,
                     .process = process,
                     .source = std::move(source),
                     .queue = queue_ ? &*queue_ : nullptr,
                     .store = std::move(connection),
                     .dead_letters = std::move(publisher),
                     .random = std::make_shared<SimulatedRandom>(
                         static_cast<std::uint64_t>(process->number()) * 0x9E3779B97F4A7C15u),
                     .log = std::move(log),
                     .loss = LossOptionsOf(process)};
  Process* const weak = process.get();
  if (is_plain()) {
    parts.plain_handler = [this, weak](const Message& message) {
      return HandlePlain(*weak, message);
    };
    if (scenario_.claims.on_lost == LostClaim::kReconcile) {
      parts.reconcile = [this](const Message& message) { return Reconcile(message); };
    }
  } else {
    parts.handler = [this, weak](const Message& message, Transaction& transaction) {
      return Handle(*weak, message, transaction);
    };
  }
  return parts;
}

void Simulation::DriveWorker(Worker& worker) {
  while (!is_over_ && !CutOff()) {
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
      if (!worker.stop.stop_requested()) CheckGivenUp(worker, status);
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
    if (scenario_.has_memory_store) store().LoseCommits(SIZE_MAX);
    worker.process = nullptr;
    if (is_over_) break;
    if (is_turning_) {
      WaitForTurn();
      continue;
    }
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
      CheckGivenUp(worker, stepped.status());
      ++worker.rounds;
      CheckProgress();
      return;
    }
    AfterRound(worker);
    if (worker.stop_after > 0 && --worker.stop_after == 0) break;
    if (is_turning_) break;
    if (!is_over_) scheduler_.Yield();
  }
  if (!process.is_dead()) CheckStop(worker, subject.Stop());
}

bool Simulation::IsIdle() const {
  return not_appended_ == 0 && scheduler_.stalled_process() == nullptr &&
         store().in_flight() == 0 && HasToldAll() &&
         (act() != nullptr && act()->is_refused
              ? IsRefused()
              : checker_.IsDrained(store().state()) &&
                    !(scenario_.awaits_offsets && checker_.FindUnacknowledged()));
}

void Simulation::AfterRound(Worker& worker) {
  ++worker.rounds;
  AppendPlugs();
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
  if (is_over && !has_runners) EndAct();
  CheckProgress();
}

// No fault and nothing new for long, and still work to do: it will never be done.
void Simulation::CheckProgress() {
  if (scenario_.mode == Mode::kSafety) {
    CutOff();
    return;
  }
  int deaths = 0;
  for (const auto& [id, count] : deaths_) deaths += count;
  if (oracle_.faults_used() != faults_seen_ || deaths != deaths_seen_) {
    faults_seen_ = oracle_.faults_used();
    deaths_seen_ = deaths;
    last_disturbance_ = scheduler_.Now();
    for (Worker& worker : workers_) worker.rounds = 0;
  }
  if (is_over_ || is_turning_ || IsIdle()) return;
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

const Act* Simulation::act() const { return acts_ == 0 ? nullptr : &scenario_.sequel[acts_ - 1]; }

// Everything is handled: the next act, or the end.
void Simulation::EndAct() {
  if (is_turning_ || is_over_) return;
  if (acts_ == scenario_.sequel.size()) return Finish();
  is_turning_ = true;
  for (Worker& worker : workers_) {
    if (worker.drive == Drive::kRun) worker.stop.request_stop();
  }
}

void Simulation::WaitForTurn() {
  const std::size_t acts = acts_;
  if (++waiting_ == workers_.size()) TurnWorld();
  while (acts_ == acts && !is_over_) turned_.WaitUntil(absl::InfiniteFuture());
}

void Simulation::TurnWorld() {
  const Act& next = scenario_.sequel[acts_++];
  waiting_ = 0;
  switch (next.turn) {
    case Turn::kNothing:
    case Turn::kDeleteUnread:  // once they are there
      break;
    case Turn::kRecreateTopic:
      log_.Recreate();
      checker_.OnRecreated();
      truth_.clear();
      break;
    case Turn::kTruncate:
      for (int partition = 0; partition < scenario_.partitions; ++partition) {
        log_.Truncate(partition, next.kept);
      }
      std::erase_if(truth_, [&](const auto& one) { return one.first.second >= next.kept; });
      break;
    case Turn::kNewStore:
      stores_.push_back(NewStore(absl::StrCat("store-", stores_.size() + 1)));
      checker_.OnNewStore();
      truth_.clear();
      break;
    case Turn::kResetOffsets:
      for (int partition = 0; partition < scenario_.partitions; ++partition) {
        log_.SetCommitted(partition, 0);
      }
      break;
  }
  gate_.set_faults(next.faults);
  AppendMessages(next.messages);
  for (int partition = 0; partition < scenario_.partitions; ++partition) {
    if (next.turn == Turn::kDeleteUnread) DeleteBefore(partition, next.kept);
  }
  for (Worker& worker : workers_) {
    worker.rounds = 0;
    worker.idle_rounds = 0;
  }
  last_disturbance_ = scheduler_.Now();
  is_turning_ = false;
  if (checker_.is_recording()) checker_.Record("world", absl::StrCat("ACT ", acts_ + 1));
  turned_.NotifyAll();
}

// Whoever has begun with the partition must tell of what it will never read. Before that, the
// oldest message is simply another one.
void Simulation::DeleteBefore(int partition, std::int64_t first) {
  const bool is_begun = is_plain() ? log_.committed(partition).has_value()
                                   : store().state().positions.contains(log_.KeyOf(partition));
  for (std::int64_t offset = 0; is_begun && offset < first; ++offset) {
    if (log_.Find(partition, offset) != nullptr) owed_.insert({partition, offset});
  }
  log_.DeleteBefore(partition, first);
}

bool Simulation::CutOff() {
  const bool is_enough =
      scheduler_.Now() - begin_ > scenario_.safety_time || gate_.calls() > scenario_.safety_calls;
  if (scenario_.mode != Mode::kSafety || !is_enough) return false;
  if (!is_over_) {
    is_cut_off_ = true;
    Finish();
  }
  return true;
}

void Simulation::Finish() {
  is_over_ = true;
  oracle_.Quiet();
  if (origin_ != nullptr) origin_->Stop();
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
    AppendPlugs();
    CheckProgress();
    for (Worker& worker : workers_) {
      const bool is_due = worker.drive == Drive::kRun && worker.stop_after > 0;
      if (is_due && --worker.stop_after == 0) worker.stop.request_stop();
    }
    idle = IsIdle() ? idle + 1 : 0;
    if (idle > scenario_.idle_rounds) {
      idle = 0;
      EndAct();
    }
  }
}

void Simulation::CleanUp(FiberScheduler::End end) {
  if (end == FiberScheduler::End::kDeadlock)
    checker_.Fail(Check::kEnds, "everybody waits for ever");
  if (end == FiberScheduler::End::kLivelock) {
    checker_.Fail(Check::kEnds, "somebody spins: no end after very many switches");
  }
  is_over_ = true;
  turned_.NotifyAll();
  oracle_.Quiet();
  if (origin_ != nullptr) origin_->Stop();
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

Report Simulation::Run() {
  if (origin_ == nullptr) AppendMessages(scenario_.messages);
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
  if (origin_ != nullptr) scheduler_.Spawn("sender", nullptr, [this] { origin_->Drive(); });
  if (has_runners) scheduler_.Spawn("monitor", nullptr, [this] { Monitor(); });
  const FiberScheduler::End end = scheduler_.Run();
  if (end != FiberScheduler::End::kFinished) CleanUp(end);
  CheckAtEnd();

  Report report;
  report.violation = checker_.violation();
  report.choices = oracle_.ChoiceString();
  report.trace_hash = oracle_.trace_hash();
  report.hits = gate_.hits();
  report.calls = gate_.calls();
  report.faults = oracle_.faults_used();
  report.preemptions = oracle_.preemptions_used();
  report.restarts = restarts_;
  report.virtual_time = scheduler_.Now() - begin_;
  report.history = checker_.history();
  if (checker_.is_recording()) {
    for (const auto& [place, message] : truth_) {
      report.outcomes.push_back(
          absl::StrCat("orders[", place.first, "]@", place.second, " ", message->id, ": ",
                       checker_.OutcomeOf(store().state(), place.first, place.second)));
    }
  }
  return report;
}

Report RunOnce(const Scenario& scenario, Oracle& oracle, bool is_recording) {
  return Simulation(scenario, oracle, is_recording).Run();
}

}  // namespace once::testing
