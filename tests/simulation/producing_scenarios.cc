// The scenarios in which messages are sent by a program with a Producer or a spool.
#include <string>
#include <utility>

#include "tests/simulation/scenario_parts.h"

namespace once::testing {
namespace {

// So many messages, "a" and so on; one consumer.
Scenario Produces(std::string name, int messages, Road road) {
  Scenario scenario;
  scenario.name = std::move(name);
  scenario.workers = 1;
  scenario.has_free_order = false;
  scenario.faults =
      FaultSet::All().Without({Fault::kLoseOneCommit, Fault::kLoseTwoCommits, Fault::kRebalance});
  scenario.times.idle_audit = absl::ZeroDuration();
  for (int i = 0; i < messages; ++i) {
    scenario.messages.push_back({.id = std::string(1, static_cast<char>('a' + i))});
  }
  scenario.producing.emplace();
  scenario.producing->road = road;
  return scenario;
}

}  // namespace

void AddProducingCases(std::vector<ExhaustiveCase>& cases) {
  // A producer and its client, which breaks; every record may land late.
  Scenario producing = Produces("producing", 3, Road::kDirect);
  producing.producing->keys = 1;
  producing.producing->lands_late = true;
  cases.push_back({producing, TwoInAll()});

  // Room for one message.
  Scenario narrow = Produces("producing-narrow", 3, Road::kDirect);
  narrow.producing->messages_max = 1;
  narrow.producing->writers = 2;
  cases.push_back({narrow, TwoInAll()});

  // One message is too large, which the broker says.
  Scenario refused = Produces("producing-refused", 3, Road::kDirect);
  refused.producing->keys = 1;
  refused.producing->too_large = {1};
  refused.producing->is_refused_late = true;
  cases.push_back({refused, TwoInAll()});

  // No broker answers for longer than a message may take: some are given up, and sent again.
  Scenario outage = Produces("producing-outage", 3, Road::kDirect);
  outage.producing->keys = 1;
  outage.messages[1].delay = absl::Milliseconds(300);
  outage.messages[2].delay = absl::Milliseconds(350);
  outage.producing->outage_after = absl::Milliseconds(200);
  outage.producing->outage = absl::Milliseconds(2500);
  outage.producing->flush_after = absl::Milliseconds(400);
  cases.push_back({outage, OneOfEitherKind()});

  // Two messages are on their way when a mark is due.
  Scenario marked = Produces("producing-at-a-mark", 3, Road::kDirect);
  marked.producing->keys = 1;
  marked.messages[1].delay = absl::Milliseconds(450);
  marked.messages[2].delay = absl::Milliseconds(450);
  cases.push_back({marked, OneOfEitherKind()});

  // Two records vanish behind the broker, the last one among them.
  Scenario vanished = Produces("producing-vanished", 4, Road::kDirect);
  vanished.producing->vanished = {2, 4};
  cases.push_back({vanished, OneOfEitherKind()});

  // The program leaves and comes back.
  Scenario lives = Produces("producing-lives", 3, Road::kDirect);
  lives.producing->stop_after = absl::Milliseconds(200);
  lives.messages[1].delay = absl::Milliseconds(500);
  lives.messages[2].delay = absl::Milliseconds(550);
  cases.push_back({lives, OneOfEitherKind()});

  // A spool that writes everything first.
  Scenario spool = Produces("spooling", 3, Road::kWriteAhead);
  spool.producing->keys = 1;
  spool.producing->lands_late = true;
  cases.push_back({spool, TwoInAll()});

  // One row on its disk at a time.
  Scenario full = Produces("spooling-full", 3, Road::kWriteAhead);
  full.producing->rows_max = 1;
  full.producing->outage_after = absl::Milliseconds(10);
  full.producing->outage = absl::Milliseconds(1500);
  cases.push_back({full, OneOfEitherKind()});

  // A message that no broker takes, and one of its key behind it.
  Scenario parked = Produces("spooling-parked", 3, Road::kWriteAhead);
  parked.producing->too_large = {0};
  cases.push_back({parked, TwoInAll()});

  // The program leaves while something is on the disk, and comes back.
  Scenario spool_lives = Produces("spooling-lives", 2, Road::kWriteAhead);
  spool_lives.producing->keys = 1;
  spool_lives.producing->stop_after = absl::Milliseconds(200);
  spool_lives.producing->outage_after = absl::Milliseconds(100);
  spool_lives.producing->outage = absl::Seconds(1);
  spool_lives.messages[1].delay = absl::Milliseconds(150);
  cases.push_back({spool_lives, OneOfEitherKind()});

  // Room for one message in front of the disk.
  Scenario spool_narrow = Produces("spooling-narrow", 3, Road::kWriteAhead);
  spool_narrow.producing->messages_max = 1;
  cases.push_back({spool_narrow, OneOfEitherKind()});

  // A disk that has no space for longer than a sender waits.
  Scenario no_space = Produces("spooling-without-space", 1, Road::kWriteAhead);
  no_space.producing->send_timeout = absl::Milliseconds(300);
  no_space.no_space = absl::Milliseconds(600);
  cases.push_back({no_space, TwoInAll()});

  // A spool that writes only while nobody answers.
  Scenario degraded = Produces("spooling-when-unreachable", 4, Road::kWhenUnreachable);
  degraded.producing->keys = 1;
  degraded.producing->outage_after = absl::Milliseconds(100);
  degraded.producing->outage = absl::Milliseconds(4900);
  degraded.messages[1].delay = absl::Milliseconds(150);
  degraded.messages[2].delay = absl::Milliseconds(600);
  // Brokers are there again, and the relay has not seen it yet.
  degraded.messages[3].delay = absl::Milliseconds(5001);
  cases.push_back({degraded, OneOfEitherKind()});

  // Likewise, and what comes back from the brokers may find no space.
  Scenario between = Produces("spooling-between", 2, Road::kWhenUnreachable);
  between.producing->send_timeout = absl::Milliseconds(300);
  between.messages[1].delay = absl::Milliseconds(150);
  between.producing->outage_after = absl::Milliseconds(100);
  between.producing->outage = absl::Seconds(1);
  between.no_space = absl::Milliseconds(600);
  cases.push_back({between, OneOfEitherKind()});
}

}  // namespace once::testing
