// What a seed draws: the world, the settings, and what goes wrong how often.
#include <algorithm>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/testing/simulation.h"

namespace once::testing {
namespace {

// A budget that no execution spends.
constexpr int kNoEnd = 1'000'000;

void DrawMessages(SplitMix& random, Scenario& scenario) {
  const int messages = 1 + random.Below(10);
  for (int i = 0; i < messages; ++i) {
    ScenarioMessage& message = scenario.messages.emplace_back();
    message.partition = random.Below(scenario.partitions);
    message.id = absl::StrCat("m", i);
    if (random.OneIn(4)) {
      static constexpr Handling kOther[] = {Handling::kFailFirst, Handling::kFailAlways,
                                            Handling::kThrow, Handling::kReject, Handling::kSkip};
      message.handling = kOther[random.Below(5)];
      message.failures = message.handling == Handling::kFailFirst ? 1 + random.Below(2) : 0;
    }
    if (random.OneIn(20)) message.id.clear();
    message.is_too_large = message.handling == Handling::kReject && random.OneIn(3);
    if (random.OneIn(3)) message.delay = absl::Milliseconds(random.Below(2000));
    if (i == 0 || !random.OneIn(4)) continue;
    // A producer that sent twice: the same message again, here or in another partition.
    const ScenarioMessage original = scenario.messages[static_cast<std::size_t>(random.Below(i))];
    message = original;
    if (random.OneIn(2)) message.partition = random.Below(scenario.partitions);
    if (!random.OneIn(6)) continue;
    message.value = "another value";
    message.handling = Handling::kDone;
  }
}

// Handlers that kill their process: all copies of a message alike.
void DrawDeaths(SplitMix& random, Scenario& scenario) {
  for (ScenarioMessage& message : scenario.messages) {
    const bool is_plain_done = message.handling == Handling::kDone && message.value.empty();
    if (!is_plain_done || message.id.empty() || !random.OneIn(12)) continue;
    const Handling handling = random.OneIn(3) ? Handling::kDieAlways : Handling::kDieFirst;
    const int failures = 1 + random.Below(3);
    for (ScenarioMessage& copy : scenario.messages) {
      if (copy.id != message.id || !copy.value.empty()) continue;
      copy.handling = handling;
      copy.failures = failures;
    }
  }
}

// Half of the cases have a plain handler, whose claims need settings of their own.
void DrawProtocol(SplitMix& random, Scenario& scenario) {
  scenario.store_loss = random.OneIn(2) ? StoreLoss::kTail : StoreLoss::kUnsynced;
  if (random.OneIn(2)) return;
  scenario.handler = HandlerKind::kPlain;
  static constexpr LostClaim kPolicies[] = {LostClaim::kRerun, LostClaim::kPark,
                                            LostClaim::kReconcile};
  scenario.claims.on_lost = kPolicies[random.Below(3)];
  scenario.stall = absl::Milliseconds(random.OneIn(2) ? 300 : 1500);
  scenario.has_one_owner = scenario.workers == 1 && random.OneIn(2);
  const bool is_renewed = std::all_of(scenario.drives.begin(), scenario.drives.end(),
                                      [](Drive drive) { return drive == Drive::kRun; });
  for (ScenarioMessage& message : scenario.messages) {
    // A letter that no broker takes stops its partition here, for good.
    message.is_too_large = false;
    // Step() renews nothing: its handlers must be quicker than the lease.
    const absl::Duration longest = scenario.claims.lease / 4;
    if (!is_renewed) message.duration = std::min(message.duration, longest);
  }
}

// Hand-written workers at a queue, in place of consumers of a log.
void DrawQueue(SplitMix& random, Scenario& scenario) {
  scenario.has_queue = true;
  scenario.make_subject = MakeQueueWorker;
  scenario.partitions = 1;
  scenario.prefetch = 1 + static_cast<std::size_t>(random.Below(3));
  // No log can be read again: the store keeps what it has acknowledged.
  scenario.store_loss = StoreLoss::kUnsynced;
  const bool is_transactional = scenario.handler == HandlerKind::kTransactional;
  int unnamed = 0;
  for (ScenarioMessage& message : scenario.messages) {
    message.partition = 0;
    message.is_too_large = false;
    if (message.id.empty()) message.id = absl::StrCat("unnamed-", ++unnamed);
    // Deaths are not counted in transactions: they must end by themselves.
    if (is_transactional && message.handling == Handling::kDieAlways) {
      message.handling = Handling::kDieFirst;
    }
  }
}

void DrawSettings(SplitMix& random, Scenario& scenario) {
  const auto draw_size = [&random](int max) {
    return 1 + static_cast<std::size_t>(random.Below(max));
  };
  for (int i = 0; i < scenario.workers; ++i) {
    scenario.drives.push_back(random.OneIn(2) ? Drive::kRun : Drive::kStep);
    scenario.stop_after.push_back(random.OneIn(3) ? 1 + random.Below(10) : 0);
  }
  if (random.OneIn(3)) {
    // Handlers slower than a batch, a revocation or a stop may be.
    for (ScenarioMessage& message : scenario.messages) {
      if (random.OneIn(3)) message.duration = absl::Milliseconds(50 + random.Below(2500));
    }
    scenario.times.revoke_budget = absl::Milliseconds(100 + random.Below(2000));
    scenario.times.stop_deadline = absl::Milliseconds(100 + random.Below(2000));
    scenario.times.pause_after = absl::Milliseconds(50 + random.Below(1000));
  }
  scenario.protocol = random.OneIn(2) ? RebalanceProtocol::kEager : RebalanceProtocol::kCooperative;
  scenario.store_model = random.OneIn(3) ? StoreModel::kOneTransaction : StoreModel::kRowLocks;
  scenario.messages_per_poll = random.OneIn(2) ? 1000 : draw_size(4);
  scenario.has_partial_polls = random.OneIn(3);
  scenario.has_holes = random.OneIn(5);
  ConsumerLimits& limits = scenario.limits;
  limits.batch_messages_max = random.OneIn(2) ? 1000 : draw_size(4);
  if (random.OneIn(4)) limits.inflight_messages_max = limits.batch_messages_max + draw_size(3) - 1;
  if (random.OneIn(5)) limits.outbox_rows_max = draw_size(3);
  scenario.restart_after = absl::Milliseconds(random.OneIn(2) ? 0 : random.Below(1000));
  scenario.grain = Grain::kFine;
  scenario.times.idle_audit = absl::Milliseconds(500);
  scenario.idle_rounds = 12;  // more than one audit
  scenario.awaits_offsets = true;
}

// Copies of a message are what an outbox would send again: all alike, and where the first one is.
void DrawNumbers(SplitMix& random, Scenario& scenario) {
  scenario.goes_by_numbers = random.OneIn(2);
  if (!scenario.goes_by_numbers) return;
  std::map<std::string, const ScenarioMessage*> originals;
  for (ScenarioMessage& message : scenario.messages) {
    if (message.id.empty()) continue;
    const auto [original, is_new] = originals.try_emplace(message.id, &message);
    if (is_new) continue;
    const absl::Duration delay = message.delay;
    message = *original->second;
    message.delay = delay;
  }
}

// The messages are published by a program, in transactions of a few each.
void DrawSending(SplitMix& random, Scenario& scenario) {
  Sending& sending = scenario.sending.emplace();
  scenario.has_holes = false;
  scenario.numbers_messages = false;
  sending.writers = 1 + static_cast<std::size_t>(random.Below(2));
  sending.keys = 1 + static_cast<std::size_t>(random.Below(4));
  sending.store_model = random.OneIn(3) ? StoreModel::kRowLocks : StoreModel::kOneTransaction;
  for (std::size_t i = 0; i < scenario.messages.size();) {
    SentTogether& together = sending.transactions.emplace_back();
    together.writer = static_cast<std::size_t>(random.Below(2)) % sending.writers;
    together.delay = scenario.messages[i].delay;
    if (random.OneIn(4)) together.open_for = absl::Milliseconds(random.Below(300));
    together.is_rolled_back = random.OneIn(6);
    together.is_synced = !random.OneIn(3);
    for (int n = 1 + random.Below(3); n > 0 && i < scenario.messages.size(); --n, ++i) {
      (random.OneIn(8) && !together.messages.empty() ? together.undone : together.messages)
          .push_back(i);
      if (random.OneIn(10)) sending.too_large.insert(i);
    }
  }
  sending.round_rows_max = 1 + static_cast<std::size_t>(random.Below(4));
  sending.rounds_in_flight_max = 1 + random.Below(3);
  sending.has_partial_delivery = random.OneIn(2);
  sending.is_refused_late = random.OneIn(2);
  if (random.OneIn(4)) {
    sending.outage_after = absl::Milliseconds(random.Below(1500));
    sending.outage = absl::Milliseconds(100 + random.Below(3000));
  }
  if (random.OneIn(3)) sending.stop_after = absl::Milliseconds(200 + random.Below(2000));
  // Of a stream of their own: what else a seed draws does not depend on them.
  SplitMix later(SplitMix(random).Next() ^ 0x9E3779B97F4A7C15u);
  if (later.OneIn(2)) sending.operator_after = absl::Milliseconds(100 + later.Below(1500));
  sending.is_given_up = later.OneIn(2);
  sending.lands_late = later.OneIn(2);
  for (int lost = random.OneIn(2) ? random.Below(3) : 0; lost > 0; --lost) {
    sending.vanished.insert(1 + random.Below(12));
  }
}

// The messages are sent by a program with a producer or a spool.
void DrawProducing(SplitMix& random, Scenario& scenario) {
  Producing& producing = scenario.producing.emplace();
  scenario.has_holes = false;
  scenario.numbers_messages = false;
  scenario.goes_by_numbers = false;
  int unnamed = 0;
  for (std::size_t i = 0; i < scenario.messages.size(); ++i) {
    ScenarioMessage& message = scenario.messages[i];
    if (message.id.empty()) message.id = absl::StrCat("unnamed-", ++unnamed);
    if (random.OneIn(12)) producing.too_large.insert(i);
  }
  producing.road = static_cast<Road>(random.Below(3));
  producing.writers = 1 + static_cast<std::size_t>(random.Below(3));
  producing.keys = 1 + static_cast<std::size_t>(random.Below(3));
  producing.is_one_by_one = random.OneIn(4);
  if (random.OneIn(3)) producing.messages_max = 1 + static_cast<std::size_t>(random.Below(3));
  if (random.OneIn(4)) producing.send_timeout = absl::Milliseconds(random.Below(300));
  // What is parked would fill a small disk for ever.
  if (random.OneIn(4) && producing.too_large.empty())
    producing.rows_max = 1 + static_cast<std::size_t>(random.Below(4));
  producing.is_refused_when_full = random.OneIn(2);
  producing.has_partial_delivery = random.OneIn(2);
  producing.is_refused_late = random.OneIn(2);
  producing.lands_late = random.OneIn(2);
  if (random.OneIn(2)) {
    producing.outage_after = absl::Milliseconds(random.Below(1500));
    producing.outage = absl::Milliseconds(100 + random.Below(4000));
  }
  if (random.OneIn(3)) producing.stop_after = absl::Milliseconds(200 + random.Below(2000));
  if (random.OneIn(3)) producing.flush_after = absl::Milliseconds(random.Below(2000));
  for (int lost = random.OneIn(2) ? random.Below(3) : 0; lost > 0; --lost) {
    producing.vanished.insert(1 + random.Below(12));
  }
}

}  // namespace

std::string_view ToString(Mode mode) { return mode == Mode::kSafety ? "safety" : "liveness"; }

SeededCase CaseOfSeed(std::uint64_t seed) {
  return CaseOfSeed(seed, seed % 2 == 0 ? Mode::kLiveness : Mode::kSafety);
}

SeededCase CaseOfSeed(std::uint64_t seed, Mode mode) {
  // Another stream than the oracle's, which is seeded with the seed itself.
  SplitMix random(seed ^ 0xA5A5A5A55A5A5A5Au);
  SeededCase seeded;
  Scenario& scenario = seeded.scenario;
  scenario.name = absl::StrCat(ToAbsl(ToString(mode)), "-", seed);
  scenario.mode = mode;
  scenario.partitions = 1 + random.Below(3);
  scenario.workers = 1 + random.Below(3);
  DrawMessages(random, scenario);
  DrawSettings(random, scenario);
  DrawProtocol(random, scenario);
  DrawDeaths(random, scenario);
  if (random.OneIn(4)) DrawQueue(random, scenario);
  for (std::size_t fault = 1; fault < kFaultCount; ++fault) {
    if (random.OneIn(3)) scenario.faults = scenario.faults.Without({static_cast<Fault>(fault)});
  }
  seeded.budget = {.faults = random.Below(25), .preemptions = random.Below(60)};
  if (mode == Mode::kSafety) seeded.budget = {.faults = kNoEnd, .preemptions = kNoEnd};
  scenario.no_space = absl::Milliseconds(400);
  static constexpr int kRates[] = {2, 10, 40, 150};
  seeded.rates = {.fault = kRates[random.Below(4)], .preemption = kRates[random.Below(4)]};
  if (random.OneIn(2)) {
    scenario.store_clock = {.ahead = absl::Milliseconds(random.Below(20'000) - 10'000),
                            .rate = 0.95 + random.Below(11) / 100.0};
  }
  scenario.has_batch_handler =
      scenario.handler == HandlerKind::kTransactional && !scenario.has_queue && random.OneIn(4);
  scenario.syncs_beside = random.OneIn(2);
  scenario.numbers_messages = !scenario.has_queue && random.OneIn(3);
  if (!scenario.has_queue && random.OneIn(3)) DrawSending(random, scenario);
  if (scenario.numbers_messages && scenario.handler == HandlerKind::kTransactional) {
    DrawNumbers(random, scenario);
  }
  const bool has_log = !scenario.has_queue && !scenario.sending;
  if (has_log && random.OneIn(4)) DrawProducing(random, scenario);
  return seeded;
}

}  // namespace once::testing
