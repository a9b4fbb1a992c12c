// The program's lives.
#include "src/testing/sending_side.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/testing/fake_record_client.h"
#include "src/testing/history_log.h"
#include "src/testing/mortal_executor.h"
#include "src/testing/simulated_random.h"

namespace once::testing {
namespace {

constexpr absl::Duration kWatchInterval = absl::Milliseconds(100);
constexpr absl::Duration kRetryInterval = absl::Milliseconds(50);
constexpr absl::Duration kMarkInterval = absl::Milliseconds(500);
constexpr absl::Duration kStopTimeout = absl::Seconds(5);

}  // namespace

struct SendingSide::Life {
  std::shared_ptr<Process> process;
  std::shared_ptr<DedupStore> store;
  std::stop_source stop;
  absl::Time begin;
  std::set<std::uint64_t> former;  // epochs that were open then
  bool has_ended = false;          // gracefully
};

SendingSide::SendingSide(const Scenario& scenario, SeamGate& gate, InvariantChecker& checker,
                         Deliver deliver)
    : scenario_(scenario),
      sending_(*scenario.sending),
      scheduler_(gate.scheduler()),
      checker_(checker),
      invariants_(checker, scheduler_, FakeLogOptions().topic, sending_.too_large, kGapGrace,
                  [this](const OutgoingMessage& message, std::size_t post) {
                    return topic_.OnStored(message, post);
                  }),
      store_(gate,
             {.model = sending_.store_model,
              .no_space = scenario.no_space,
              .loss = StoreLoss::kUnsynced,
              .loses_new_rows = true,
              .has_outgoing = true,
              .loses_in_use = false,
              .sends_at_once = sending_.sends_at_once,
              .keeps_undone_messages = sending_.keeps_undone_messages,
              .numbers_at_once = sending_.numbers_at_once,
              .id = "books"},
             &invariants_),
      topic_(scenario,
             {.outage_after = sending_.outage_after,
              .outage = sending_.outage,
              .vanished = sending_.vanished},
             gate, checker, invariants_, std::move(deliver)),
      begin_(scheduler_.Now()) {
  invariants_.Watch(store_, topic_.topics());
}

OutgoingMessage SendingSide::MessageOf(std::size_t post) const {
  OutgoingMessage sent = topic_.MessageOf(post, sending_.keys, sending_.too_large.contains(post));
  sent.headers = {{std::string(kPostHeader), EffectIdOf(post)}};
  const std::string& id = scenario_.messages[post].id;
  if (!id.empty()) sent.headers.push_back({"id", id});
  return sent;
}

bool SendingSide::IsSettled(std::size_t transaction) const {
  const SentTogether& together = sending_.transactions[transaction];
  if (together.is_rolled_back) return rolled_back_.contains(transaction);
  return std::all_of(together.messages.begin(), together.messages.end(),
                     [this](std::size_t post) { return invariants_.IsCommitted(post); });
}

bool SendingSide::IsAllCommitted() const {
  for (std::size_t i = 0; i < sending_.transactions.size(); ++i) {
    if (!IsSettled(i)) return false;
  }
  return true;
}

absl::Status SendingSide::PublishAll(Transaction& transaction,
                                     const std::vector<std::size_t>& posts) {
  for (const std::size_t post : posts) {
    Effects(transaction)->Append({.scope = "sent", .id = EffectIdOf(post)});
    if (absl::Status sent = transaction.Publish(MessageOf(post)); !sent.ok()) return sent;
  }
  return absl::OkStatus();
}

absl::Status SendingSide::Attempt(Life& life, const SentTogether& together) {
  absl::StatusOr<BeginResult> begun = life.store->transactions()->Begin({});
  if (!begun.ok()) return begun.status();
  StoreTransaction& transaction = *begun->transaction;
  absl::Status status = PublishAll(transaction, together.messages);
  if (status.ok() && !together.undone.empty()) {
    status = transaction.SetSavepoint();
    if (status.ok()) status = PublishAll(transaction, together.undone);
    if (status.ok()) status = transaction.RollbackToSavepoint();
  }
  if (together.open_for > absl::ZeroDuration()) {
    scheduler_.SleepUntil(scheduler_.Now() + together.open_for);
  }
  if (!status.ok() || together.is_rolled_back) {
    transaction.Rollback();
    return status;
  }
  status = transaction.Commit(together.is_synced ? Durability::kMachine : Durability::kProcess);
  if (checker_.is_recording())
    checker_.Record(life.process->name(), "commit → " + status.ToString());
  return status;
}

// Whether something is committed is looked up, as a program does in its own tables: it never
// commits twice.
void SendingSide::Write(Life& life, std::size_t writer) {
  const auto is_over = [&life] { return life.process->is_dead() || life.stop.stop_requested(); };
  for (std::size_t i = 0; i < sending_.transactions.size(); ++i) {
    const SentTogether& together = sending_.transactions[i];
    if (together.writer != writer) continue;
    while (!is_over() && scheduler_.Now() < begin_ + together.delay) {
      scheduler_.SleepUntil(std::min(begin_ + together.delay, scheduler_.Now() + kWatchInterval));
    }
    while (!is_over() && !IsSettled(i)) {
      const absl::Status status = Attempt(life, together);
      if (life.process->is_dead()) return;
      if (status.ok() && together.is_rolled_back) rolled_back_.insert(i);
      while (!is_over() && store_.in_flight() > 0) {
        scheduler_.SleepUntil(scheduler_.Now() + kRetryInterval);
      }
      if (!status.ok() && !is_over()) scheduler_.SleepUntil(scheduler_.Now() + kRetryInterval);
    }
  }
}

// Once all is sent, the relay gets the time to look again, and what former lives have left is
// closed: a relay that is stopped does that for itself only.
void SendingSide::Watch(Life& life) {
  bool was_all_sent = false;
  while (!life.process->is_dead() && !life.stop.stop_requested()) {
    const bool is_due = sending_.stop_after > absl::ZeroDuration() &&
                        scheduler_.Now() - life.begin >= sending_.stop_after;
    const std::set<std::uint64_t> open = invariants_.FindEpochs();
    const bool has_former =
        std::any_of(life.former.begin(), life.former.end(),
                    [&open](std::uint64_t epoch) { return open.contains(epoch); });
    const bool is_all_sent = IsAllCommitted() && invariants_.HasOnlyParked() && !has_former;
    if (is_due || (is_all_sent && was_all_sent)) life.stop.request_stop();
    was_all_sent = is_all_sent;
    scheduler_.SleepUntil(scheduler_.Now() + kWatchInterval);
  }
}

// Whatever fails is left for the operator of the next life.
void SendingSide::Operate(Life& life) {
  const auto is_over = [&life] { return life.process->is_dead() || life.stop.stop_requested(); };
  const absl::Time due = life.begin + sending_.operator_after;
  while (!is_over() && scheduler_.Now() < due) {
    scheduler_.SleepUntil(std::min(due, scheduler_.Now() + kWatchInterval));
  }
  if (is_over()) return;
  OutgoingLog& log = *life.store->transactions()->outgoing();
  const absl::StatusOr<std::vector<ParkedRow>> parked =
      log.ListParked(0, scenario_.messages.size());
  if (!parked.ok()) return;
  for (const ParkedRow& row : *parked) {
    if (life.process->is_dead()) return;
    const std::int64_t number = row.row.number;
    if (!sending_.is_given_up) {
      (void)log.Unpark(number);
      continue;
    }
    invariants_.OnGiveUp(number);
    const absl::Status given_up = log.GiveUp(number, "nobody wants it");
    if (!life.process->is_dead()) invariants_.OnGivenUp(number, given_up);
  }
}

// Every default that costs something is overridden.
OutboxRelayOptions SendingSide::RelayOptions(Life& life) {
  const auto seed = static_cast<std::uint64_t>(life.process->number()) * 0xD1B54A32D192ED03u;
  return {.store = life.store,
          .clients = FakeRecordClients(topic_.topics(), life.process,
                                       {.is_partial = sending_.has_partial_delivery,
                                        .is_refused_late = sending_.is_refused_late,
                                        .lands_late = sending_.lands_late}),
          .round_rows_max = sending_.round_rows_max,
          .rounds_in_flight_max = sending_.rounds_in_flight_max,
          .mark_interval = kMarkInterval,
          .stop_timeout = kStopTimeout,
          .executor = std::make_shared<MortalExecutor>(life.process),
          .random = std::make_shared<SimulatedRandom>(seed),
          .log = std::make_shared<HistoryLog>(checker_, life.process->name(), nullptr)};
}

void SendingSide::Live(Life& life) {
  life.store = store_.Connect(life.process);
  life.begin = scheduler_.Now();
  life.former = invariants_.FindEpochs();
  absl::StatusOr<std::unique_ptr<OutboxRelay>> relay = OutboxRelay::Create(RelayOptions(life));
  if (!relay.ok()) {
    checker_.Fail(Check::kMisuse, "the relay cannot be made: " + relay.status().ToString());
    is_over_ = true;
    return;
  }
  life.process->OnKill([&life] { life.stop.request_stop(); });
  std::vector<std::unique_ptr<Task>> tasks;
  for (std::size_t writer = 0; writer < sending_.writers; ++writer) {
    tasks.push_back(life.process->Spawn("writer", [this, &life, writer] { Write(life, writer); }));
  }
  tasks.push_back(life.process->Spawn("watch", [this, &life] { Watch(life); }));
  if (sending_.operator_after > absl::ZeroDuration()) {
    tasks.push_back(life.process->Spawn("operator", [this, &life] { Operate(life); }));
  }
  last_end_ = (*relay)->Run(life.stop.get_token());
  if (checker_.is_recording()) {
    checker_.Record(life.process->name(), "the relay ends: " + last_end_.ToString());
  }
  life.stop.request_stop();
  tasks.clear();
  life.has_ended = last_end_.ok() && !life.process->is_dead();
  if (!life.has_ended && !life.process->is_dead() && !absl::IsDeadlineExceeded(last_end_)) {
    checker_.Fail(Check::kEnds, "the relay gives up: " + last_end_.ToString());
  }
}

// Machines die with their processes now and then, and with what was not synced.
void SendingSide::LosePower() {
  const int lost = scheduler_.oracle().Choose("power", 3, Cost::kFault);
  if (lost == 0) return;
  if (checker_.is_recording()) checker_.Record("books", "the machine loses its power");
  store_.LoseCommits(lost == 1 ? 1 : SIZE_MAX);
}

void SendingSide::Drive() {
  while (!is_over_ && !is_done_) {
    Life life;
    life.process = scheduler_.NewProcess(absl::StrCat("sender.", ++lives_));
    life_ = &life;
    scheduler_.MoveToProcess(life.process);
    Live(life);
    const bool was_killed = life.process->is_dead();
    scheduler_.MoveToProcess(nullptr);
    life_ = nullptr;
    life.store = nullptr;
    if (!was_killed) scheduler_.Kill(*life.process);
    if (is_over_) return;
    if (was_killed) LosePower();
    // Of what is still on its way the next life must know whether it came to be.
    while (!is_over_ && (store_.in_flight() > 0 || topic_.topics().in_flight() > 0)) {
      scheduler_.SleepUntil(scheduler_.Now() + kRetryInterval);
    }
    is_done_ = life.has_ended && IsAllCommitted() && store_.in_flight() == 0 &&
               invariants_.HasOnlyParked() && invariants_.FindEpochs().empty();
    if (!is_done_)
      scheduler_.SleepUntil(scheduler_.Now() + scenario_.restart_after + kRetryInterval);
  }
}

void SendingSide::Stop() {
  is_over_ = true;
  if (life_ != nullptr) scheduler_.Kill(*life_->process);
}

std::string SendingSide::Complaint() const {
  if (is_done_) return "";
  return absl::StrCat("all is ", IsAllCommitted() ? "" : "not ", "committed, ",
                      invariants_.HasOnlyParked() ? "" : "not ", "sent or parked, ",
                      invariants_.FindEpochs().empty() ? "" : "not ", "marked, in life ", lives_,
                      "; the last one ended with ", last_end_.ToString());
}

}  // namespace once::testing
