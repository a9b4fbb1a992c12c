// The program's lives.
#include "src/testing/producing_side.h"

#include <algorithm>
#include <deque>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/spool.h"
#include "once/testing/fake_record_client.h"
#include "src/testing/history_log.h"
#include "src/testing/mortal_executor.h"
#include "src/testing/observed_client.h"
#include "src/testing/simulated_random.h"

namespace once::testing {
namespace {

constexpr absl::Duration kWatchInterval = absl::Milliseconds(100);
constexpr absl::Duration kRetryInterval = absl::Milliseconds(50);
constexpr absl::Duration kMarkInterval = absl::Milliseconds(500);
constexpr absl::Duration kCloseTimeout = absl::Seconds(4);

SpoolMode ModeOf(Road road) {
  return road == Road::kWriteAhead ? SpoolMode::kWriteAhead : SpoolMode::kWhenUnreachable;
}

}  // namespace

struct ProducingSide::Life {
  int number = 0;
  std::shared_ptr<Process> process;
  std::shared_ptr<DedupStore> store;
  std::unique_ptr<Producer> producer;
  absl::Time begin;
  bool is_leaving = false;
  std::set<std::uint64_t> former;  // epochs that were open then
  bool has_ended = false;          // gracefully
  struct Held {
    std::size_t send = 0;
    Ticket ticket;
  };
  std::deque<Held> tickets;
};

ProducingSide::ProducingSide(const Scenario& scenario, SeamGate& gate, InvariantChecker& checker,
                             Deliver deliver)
    : scenario_(scenario),
      producing_(*scenario.producing),
      scheduler_(gate.scheduler()),
      gate_(gate),
      checker_(checker),
      invariants_(checker, scheduler_, FakeLogOptions().topic, producing_, kGapGrace,
                  [this](const OutgoingMessage& message, std::size_t post) {
                    return topic_.OnStored(message, post);
                  }),
      store_(gate,
             {.model = StoreModel::kOneTransaction,
              .no_space = scenario.no_space,
              .loss = StoreLoss::kUnsynced,
              .loses_new_rows = true,
              .has_one_owner = true,
              .has_outgoing = true,
              .loses_in_use = false,
              .id = "spool"},
             &invariants_),
      topic_(scenario,
             {.outage_after = producing_.outage_after,
              .outage = producing_.outage,
              .vanished = producing_.vanished},
             gate, checker, invariants_, std::move(deliver)),
      begin_(scheduler_.Now()) {
  invariants_.Watch(store_, topic_.topics());
  invariants_.set_on_judgement([this] { LookAtTickets(); });
}

OutgoingMessage ProducingSide::MessageOf(std::size_t post) const {
  OutgoingMessage sent =
      topic_.MessageOf(post, producing_.keys, producing_.too_large.contains(post));
  sent.headers = {{std::string(kPostHeader), absl::StrCat(post)},
                  {"id", scenario_.messages[post].id}};
  return sent;
}

bool ProducingSide::IsOver(const Life& life) const {
  return life.process->is_dead() || life.is_leaving || is_over_;
}

bool ProducingSide::IsAllSettled() const {
  for (std::size_t post = 0; post < scenario_.messages.size(); ++post) {
    if (!invariants_.IsSettled(post)) return false;
  }
  return true;
}

// What former lives have left is closed, too: a relay that is stopped does that for itself only.
bool ProducingSide::IsAllPublished(const Life& life) const {
  if (!has_spool()) return true;
  const std::set<std::uint64_t> open = invariants_.FindEpochs();
  return invariants_.HasOnlyParked() &&
         std::none_of(life.former.begin(), life.former.end(),
                      [&open](std::uint64_t epoch) { return open.contains(epoch); });
}

bool ProducingSide::DiesHere(Life& life) {
  if (life.process->is_dead()) return true;
  if (scheduler_.oracle().Choose("program-dies", 2, Cost::kFault) == 0) return false;
  if (checker_.is_recording()) checker_.Record(life.process->name(), "is killed");
  gate_.Crash(*life.process);
  return true;
}

// Every other message by a ticket, the others by a call.
void ProducingSide::SendOne(Life& life, std::size_t post) {
  OutgoingMessage message = MessageOf(post);
  message.headers.push_back({std::string(kSendHeader), absl::StrCat(invariants_.send_count())});
  const std::size_t send = invariants_.OnSend(life.number, post, message);
  if (send % 2 == 0) {
    life.producer->Send(std::move(message), [this, send](const SendOutcome& outcome) {
      invariants_.OnTold(send, outcome);
    });
  } else {
    life.tickets.push_back({.send = send, .ticket = life.producer->Send(std::move(message))});
  }
  if (!life.process->is_dead()) invariants_.OnReturn(send);
}

void ProducingSide::LookAtTickets() {
  if (life_ == nullptr || life_->process->is_dead()) return;
  for (Life::Held& held : life_->tickets) {
    if (invariants_.is_told(held.send)) continue;
    const SendOutcome* const outcome = held.ticket.TryGet();
    if (outcome != nullptr) invariants_.OnTold(held.send, *outcome);
  }
}

void ProducingSide::AwaitOutcomes(Life& life, std::size_t since) {
  while (!IsOver(life)) {
    LookAtTickets();
    if (invariants_.AreTold(life.number, since)) return;
    invariants_.CheckOverdue(life.number);
    scheduler_.SleepUntil(scheduler_.Now() + kRetryInterval);
  }
}

void ProducingSide::Write(Life& life, std::size_t writer) {
  while (!IsOver(life)) {
    const std::size_t since = invariants_.send_count();
    bool has_sent = false;
    for (std::size_t post = writer; post < scenario_.messages.size(); post += producing_.writers) {
      const absl::Time due = begin_ + scenario_.messages[post].delay;
      while (!IsOver(life) && scheduler_.Now() < due) {
        scheduler_.SleepUntil(std::min(due, scheduler_.Now() + kWatchInterval));
      }
      if (IsOver(life)) return;
      if (invariants_.IsSettled(post)) continue;
      if (DiesHere(life)) return;
      SendOne(life, post);
      has_sent = true;
      if (DiesHere(life)) return;
      if (producing_.is_one_by_one) AwaitOutcomes(life, since);
    }
    if (!has_sent) return;
    AwaitOutcomes(life, since);
    if (!IsOver(life)) scheduler_.SleepUntil(scheduler_.Now() + kRetryInterval);
  }
}

// What a graceful end waits for, beside the writers.
void ProducingSide::AwaitPublication(Life& life) {
  while (!IsOver(life) && !IsAllPublished(life)) {
    scheduler_.SleepUntil(scheduler_.Now() + kWatchInterval);
  }
}

void ProducingSide::Ask(Life& life) {
  const absl::Time due = life.begin + producing_.flush_after;
  while (!IsOver(life) && scheduler_.Now() < due) {
    scheduler_.SleepUntil(std::min(due, scheduler_.Now() + kWatchInterval));
  }
  if (IsOver(life)) return;
  const std::vector<std::size_t> open = invariants_.FindOpen(life.number);
  const Undelivered undelivered = life.producer->Flush(scheduler_.Now() + absl::Seconds(1));
  if (!life.process->is_dead()) invariants_.OnAnswer(open, undelivered, false);
}

// Every default that costs something is overridden.
ProducerOptions ProducingSide::OptionsOf(Life& life) {
  const auto seed = static_cast<std::uint64_t>(life.process->number()) * 0xD1B54A32D192ED03u;
  ProducerOptions options{
      .clients = ObservedClients(FakeRecordClients(topic_.topics(), life.process,
                                                   {.is_partial = producing_.has_partial_delivery,
                                                    .is_refused_late = producing_.is_refused_late,
                                                    .lands_late = producing_.lands_late}),
                                 invariants_, life.process),
      .ids = {.header = "id"},
      .stamps = {.producer = "program", .mark_interval = kMarkInterval},
      .limits = {.messages_max = producing_.messages_max},
      .times = {.send_timeout = producing_.send_timeout,
                .delivery_timeout = producing_.delivery_timeout,
                .close_timeout = kCloseTimeout},
      .log = std::make_shared<HistoryLog>(checker_, life.process->name(), nullptr),
      .executor = std::make_shared<MortalExecutor>(life.process),
      .random = std::make_shared<SimulatedRandom>(seed)};
  return options;
}

absl::StatusOr<std::unique_ptr<Producer>> ProducingSide::Open(Life& life) {
  if (!has_spool()) return Producer::Create(OptionsOf(life));
  life.store = store_.Connect(life.process);
  SpoolOptions options{.store = life.store,
                       .producer = OptionsOf(life),
                       .mode = ModeOf(producing_.road),
                       .limits = {.messages_max = producing_.rows_max,
                                  .when_full = producing_.is_refused_when_full ? WhenFull::kRefuse
                                                                               : WhenFull::kBlock},
                       .unreachable_after = producing_.unreachable_after};
  return OpenSpool(std::move(options));
}

void ProducingSide::Live(Life& life) {
  life.begin = scheduler_.Now();
  if (has_spool()) life.former = invariants_.FindEpochs();
  absl::StatusOr<std::unique_ptr<Producer>> producer = Open(life);
  if (!producer.ok()) {
    // A disk that cannot be read: the next life tries again.
    if (!life.process->is_dead() && scheduler_.oracle().faults_used() == 0) {
      checker_.Fail(Check::kMisuse, "no producer: " + producer.status().ToString());
    }
    return;
  }
  life.producer = *std::move(producer);
  {
    std::vector<std::unique_ptr<Task>> tasks;
    if (producing_.stop_after > absl::ZeroDuration()) {
      tasks.push_back(life.process->Spawn("watch", [this, &life] {
        const absl::Time due = life.begin + producing_.stop_after;
        while (!IsOver(life) && scheduler_.Now() < due) {
          scheduler_.SleepUntil(std::min(due, scheduler_.Now() + kWatchInterval));
          if (IsAllSettled() && IsAllPublished(life)) return;
        }
        life.is_leaving = true;
      }));
    }
    if (producing_.flush_after > absl::ZeroDuration()) {
      tasks.push_back(life.process->Spawn("flush", [this, &life] { Ask(life); }));
    }
    std::vector<std::unique_ptr<Task>> writers;
    for (std::size_t writer = 0; writer < producing_.writers; ++writer) {
      writers.push_back(
          life.process->Spawn("writer", [this, &life, writer] { Write(life, writer); }));
    }
    writers.clear();
    AwaitPublication(life);
  }
  const std::vector<std::size_t> open = invariants_.FindOpen(life.number);
  const Undelivered undelivered = life.producer->Close(scheduler_.Now() + kCloseTimeout);
  if (!life.process->is_dead()) invariants_.OnAnswer(open, undelivered, true);
  invariants_.OnEnd(life.number);
  life.has_ended = !life.process->is_dead();
  life.producer = nullptr;
  life.tickets.clear();
}

// Machines die with their processes now and then, and with what was not synced.
void ProducingSide::LosePower() {
  if (!has_spool()) return;
  const int lost = scheduler_.oracle().Choose("power", 3, Cost::kFault);
  if (lost == 0) return;
  if (checker_.is_recording()) checker_.Record("disk", "the machine loses its power");
  store_.LoseCommits(lost == 1 ? 1 : SIZE_MAX);
}

void ProducingSide::Drive() {
  while (!is_over_ && !is_done_) {
    Life life;
    life.number = ++lives_;
    life.process = scheduler_.NewProcess(absl::StrCat("producer.", lives_));
    life.process->OnKill([this, number = life.number] { invariants_.OnEnd(number); });
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
    is_done_ = life.has_ended && IsAllSettled() &&
               (!has_spool() || (invariants_.HasOnlyParked() && invariants_.FindEpochs().empty()));
    if (!is_done_)
      scheduler_.SleepUntil(scheduler_.Now() + scenario_.restart_after + kRetryInterval);
  }
}

void ProducingSide::Stop() {
  is_over_ = true;
  if (life_ != nullptr) scheduler_.Kill(*life_->process);
}

std::string ProducingSide::Complaint() const {
  if (is_done_) return "";
  return absl::StrCat("of all messages an outcome is ", IsAllSettled() ? "" : "not ",
                      "known; what is spooled is ", invariants_.HasOnlyParked() ? "" : "not ",
                      "published or parked, ", invariants_.FindEpochs().empty() ? "" : "not ",
                      "marked, in life ", lives_);
}

}  // namespace once::testing
