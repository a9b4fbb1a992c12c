// A Scenario is a small world: a log or a queue with messages, a store, a dead-letter topic and
// workers that consume. RunOnce() plays it once; the oracle decides what goes wrong. The search
// functions play it many times and shorten the first violation to a witness.
//
//   Scenario scenario = …;
//   const SearchResult result = SearchExhaustively(scenario, {.faults = 2, .preemptions = 1});
//   if (result.witness) std::cerr << Describe(*result.witness);
//
// Thread-safety: none inside one search; searches on different threads are independent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "once/consumer.h"
#include "once/testing/fake_log.h"
#include "once/testing/fake_publisher.h"
#include "once/testing/fake_queue.h"
#include "once/testing/fake_store.h"
#include "once/testing/fiber_executor.h"
#include "once/testing/invariants.h"
#include "once/testing/oracle.h"
#include "once/testing/producing.h"
#include "once/testing/seam.h"
#include "once/testing/sending.h"

namespace once::testing {

// What the handler does with a message.
enum class Handling : std::uint8_t {
  kDone,
  kFailFirst,   // the first `failures` invocations fail, then done
  kFailAlways,  // transient for ever: dead-lettered after the last attempt
  kThrow,       // throws at the first invocation, then done
  kReject,
  kSkip,
  kDieFirst,   // kills its process in the first `failures` invocations, then done
  kDieAlways,  // poison
};

struct ScenarioMessage {
  int partition = 0;
  std::string id;     // empty: the message has none
  std::string value;  // empty: "value of <id>"
  Handling handling = Handling::kDone;
  int failures = 0;
  absl::Duration delay;     // appended so long after the beginning
  absl::Duration duration;  // how long its handler takes, in virtual time
  // Retention deletes it so long after it came, with all that came before it in its partition, read
  // or unread; zero: never.
  absl::Duration lifetime;
  bool is_too_large = false;  // its dead letter is refused by the broker, and parked
};

// What happens to the world between two acts, while no worker runs.
enum class Turn : std::uint8_t {
  kNothing,
  kRecreateTopic,  // deleted and made anew; the group's offsets are gone with it
  kTruncate,       // the log of every partition ends with the messages that are kept
  kNewStore,       // another, empty store takes the place of the one before
  kResetOffsets,   // an operator sets the group's offsets to the beginning
  kDeleteUnread,   // retention deletes messages of the act before anybody has read them
};

// What follows once everything is handled: all workers leave, the world turns, more messages come,
// the workers come back.
struct Act {
  Turn turn = Turn::kNothing;
  std::int64_t kept = 0;  // kTruncate: offsets below stay; kDeleteUnread: the others do
  std::vector<ScenarioMessage> messages;
  FaultSet faults;
  // The right thing to do is nothing: every partition that has something to handle is stopped, and
  // no handler runs.
  bool is_refused = false;
};

// What is judged.
enum class Mode : std::uint8_t {
  // Faults stop when their budget is spent. From then on everything must be handled in bounded
  // virtual time, and what it ends as must be right.
  kLiveness,
  // Faults never stop. The world goes on for a bounded virtual time and is cut off then: nothing
  // that has happened may be wrong, but nothing needs to have happened.
  kSafety,
};
std::string_view ToString(Mode mode);

// How a worker is driven.
enum class Drive : std::uint8_t {
  kStep,  // Step() in a loop: one fibre
  kRun,   // Run(): a polling fibre, a worker fibre, a relay fibre
};

// The code under test, as one worker process holds it.
class Subject {
 public:
  virtual ~Subject() = default;
  virtual absl::StatusOr<bool> Step() = 0;
  virtual absl::Status Run(std::stop_token stop) = 0;
  virtual absl::Status Stop() = 0;
  // What it counted; compared with what happened where no fault disturbed it.
  virtual std::optional<ConsumerStats> stats() const { return std::nullopt; }
  // True when it has stopped the partition, and says so to whoever asks.
  virtual bool IsStopped(int /*partition*/) const { return false; }
  // Why it may be standing still, for the report; empty: no idea.
  virtual std::string Complaint() const { return {}; }
};

struct Scenario;

// What a subject is made of.
struct SubjectParts {
  const Scenario& scenario;
  std::shared_ptr<Process> process;
  // The one that the scenario has; the other is null.
  std::unique_ptr<LogSource> source;
  FakeQueue* queue = nullptr;
  std::shared_ptr<DedupStore> store;
  std::shared_ptr<Publisher> dead_letters;
  std::shared_ptr<Random> random;
  std::shared_ptr<LogSink> log;
  LossOptions loss;  // of consumers
  // The one that the scenario names; the other is empty.
  TransactionalHandlerFunction handler;
  PlainHandlerFunction plain_handler;
  std::function<Reconciled(const Message&)> reconcile;
};
using SubjectFactory = std::function<absl::StatusOr<std::unique_ptr<Subject>>(SubjectParts)>;

// The real engine over a log.
absl::StatusOr<std::unique_ptr<Subject>> MakeConsumer(SubjectParts parts);
// A hand-written loop over a queue that guards its function with once::Wrap (queue_worker.h).
absl::StatusOr<std::unique_ptr<Subject>> MakeQueueWorker(SubjectParts parts);

struct QueueTurn;

struct Scenario {
  std::string name;
  std::vector<ScenarioMessage> messages;
  std::vector<Act> sequel;
  Mode mode = Mode::kLiveness;
  FiberKind fibers = FiberKind::kStack;
  bool has_free_order = true;  // FiberScheduler::set_has_free_order
  HandlerKind handler = HandlerKind::kTransactional;
  // The consumer's handler is called for whole batches, and has an outcome for each message; what a
  // message does depends on its attempts, not on how often it was handed over. REQUIRES: a log.
  bool has_batch_handler = false;
  int partitions = 1;
  int workers = 2;
  std::vector<Drive> drives;  // by worker; missing ones are kStep
  RebalanceProtocol protocol = RebalanceProtocol::kEager;
  StoreModel store_model = StoreModel::kRowLocks;
  StoreLoss store_loss = StoreLoss::kTail;
  bool loses_new_rows = false;
  bool has_one_owner = false;  // REQUIRES: one worker
  // Batches of a worker with Drive::kRun are synced while the next one runs.
  bool syncs_beside = false;
  bool locks_found_ids = true;
  bool reuses_sequences = false;
  bool compares_fences = true;
  bool says_claims_in_part = false;
  bool tears_words = false;
  // How long a full store stays so. Every retry of two workers meanwhile is an order to choose, so
  // that a longer time makes many times as many executions, and no other ones.
  absl::Duration no_space = absl::Milliseconds(60);
  // The store dies with the process that has it open. REQUIRES: one worker, a plain handler, whose
  // effects are elsewhere.
  bool has_memory_store = false;
  StoreClock store_clock;
  std::size_t messages_per_poll = 1000;
  bool has_partial_polls = false;
  bool has_holes = false;
  // Messages carry stamps, as one producer has numbered them, and consumers look for losses, of
  // which there are none. REQUIRES: a log, and nothing of it is deleted.
  bool numbers_messages = false;
  // The stamps are those of an outbox, copies have the number of the original, and every other
  // incarnation of a worker goes by them (DedupBy::kSequence), the rest by ids. REQUIRES:
  // numbers_messages, a transactional handler; messages of one id are alike and in one partition.
  bool goes_by_numbers = false;
  // Messages are published to the log by a program, through an outbox, and numbered by its relay;
  // consumers look for losses. What a message says of partition and delay counts for nothing.
  // REQUIRES: a log without holes of which nothing is deleted; no sequel.
  std::optional<Sending> sending;
  // Messages are sent to the log by a program with a Producer or a spool, and numbered by it;
  // consumers look for losses. Likewise. REQUIRES: as above; not both; every message has an id.
  std::optional<Producing> producing;
  // Messages come from a queue, all of partition 0. REQUIRES: make_subject reads it; no sequel.
  bool has_queue = false;
  std::size_t prefetch = 2;

  FaultSet faults = FaultSet::All();
  Grain grain = Grain::kCoarse;
  absl::Duration stall = absl::Milliseconds(300);  // SeamOptions::stall
  // How long a killed worker stays away.
  absl::Duration restart_after;
  // By worker: stopped gracefully after so many rounds (Run(): so many times 200 ms), then started
  // anew; 0 or missing: never.
  std::vector<int> stop_after;

  RetryPolicy retry = {.max_attempts = 3,
                       .backoff = {.initial = absl::Milliseconds(20), .jitter = 0}};
  ClaimOptions claims = {.lease = absl::Seconds(1)};  // `reconcile` is the simulation's own
  ForeignStore foreign_store = ForeignStore::kRefuse;
  OutOfRange out_of_range = OutOfRange::kStop;
  ConsumerLimits limits;
  ConsumerTimes times = {
      .poll_timeout = absl::Milliseconds(500),
      .store_backoff = {.initial = absl::Milliseconds(10), .max = absl::Milliseconds(200)}};

  // An execution goes on until the broker, too, knows that everything is handled. What it was told
  // may be lost on its way and is said again after a minute: without this only an execution without
  // a fault must end so.
  bool awaits_offsets = false;
  // An execution ends after so many rounds of every worker with nothing left to do …
  int idle_rounds = 1;
  // … and a worker that took so many rounds since the last fault, with work left, never will.
  int rounds_max = 400;
  absl::Duration drain_max = absl::Minutes(10);
  // kSafety: when the world is cut off, in virtual time and in seam calls.
  absl::Duration safety_time = absl::Seconds(15);
  std::int64_t safety_calls = 20'000;

  std::vector<Check> ignored;
  SubjectFactory make_subject = MakeConsumer;
  // The bug that is planted, as the command that replays a witness names it; empty: none.
  std::string planted_bug;
  // For planted bugs: what stands between the subject and the fakes.
  std::function<std::shared_ptr<DedupStore>(std::shared_ptr<DedupStore>)> wrap_store;
  std::function<std::unique_ptr<LogSource>(std::unique_ptr<LogSource>)> wrap_source;
  std::function<std::shared_ptr<Publisher>(std::shared_ptr<Publisher>)> wrap_publisher;
  // What a queue worker does with a delivery; null: SettleDelivery.
  std::function<absl::Status(const QueueTurn&)> settle_delivery;
};

struct Report {
  std::optional<Violation> violation;
  std::string choices;
  std::uint64_t trace_hash = 0;
  std::vector<Point> hits;
  std::int64_t calls = 0;
  int faults = 0;
  int preemptions = 0;
  int restarts = 0;
  absl::Duration virtual_time;
  std::vector<HistoryLine> history;   // only when asked for
  std::vector<std::string> outcomes;  // "orders[0]@2 id: effect", only when asked for
};

Report RunOnce(const Scenario& scenario, Oracle& oracle, bool is_recording = false);

// A violation, shortened: no choice of it can be left out.
struct Witness {
  std::string scenario;
  std::string planted_bug;
  std::optional<std::uint64_t> seed;
  Report report;  // with its history
};

// The rule that was broken, the commit of the build, the command that replays it, and the history
// of the message concerned.
std::string Describe(const Witness& witness);

struct SearchResult {
  std::int64_t executions = 0;
  std::int64_t calls = 0;
  double seconds = 0;  // of real time
  PointCounts points;
  bool is_complete = true;  // false: stopped by a limit or a violation
  bool is_deterministic = true;
  std::optional<Witness> witness;
  std::uint64_t hash = 0;  // of all trace hashes
};

struct SearchLimits {
  std::int64_t executions_max = INT64_MAX;
  bool is_shortened = true;
};

// Every execution within the budget, up to the first violation.
SearchResult SearchExhaustively(const Scenario& scenario, Budget budget, SearchLimits limits = {});

// A scenario with a fault mix of its own, a pure function of seed and mode, called "<mode>-<seed>".
struct SeededCase {
  Scenario scenario;
  Budget budget;
  DeviationRates rates;
};
SeededCase CaseOfSeed(std::uint64_t seed, Mode mode);
// Even seeds: liveness; odd ones: safety.
SeededCase CaseOfSeed(std::uint64_t seed);

// Plays the cases of the seeds first, first + 1, …; up to the first violation.
// `make_case` null: CaseOfSeed of both modes.
SearchResult SearchSeeds(std::uint64_t first, std::int64_t count,
                         const std::function<SeededCase(std::uint64_t)>& make_case = nullptr,
                         SearchLimits limits = {});

// One scenario and budget under many seeds.
SearchResult SearchRandomly(const Scenario& scenario, Budget budget, DeviationRates rates,
                            std::uint64_t first_seed, std::int64_t count);

}  // namespace once::testing
