// The consuming child: members of a group on threads of their own, sharing one open store, every
// seam recorded, and what the task says goes wrong.
#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <iostream>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "once/consumer.h"
#include "once/kafka/dead_letter_topic.h"
#include "once/kafka/marks.h"
#include "once/kafka/source.h"
#include "once/memory/store.h"
#include "once/sqlite/store.h"
#include "src/test_hooks.h"
#include "tests/campaign/child_life.h"
#include "tests/campaign/consumer_task.h"
#include "tests/campaign/effects_book.h"
#include "tests/campaign/postgres_book.h"
#include "tests/campaign/postgres_kind.h"
#include "tests/campaign/recorded_seams.h"
#include "tests/campaign/seal_soon.h"
#include "tests/campaign/workload.h"
#include "tests/forwarding_seams.h"
#include "tests/integration/child.h"
#include "tests/integration/consumer_group.h"
#include "tests/simulation/planted_bugs.h"

namespace once::campaign {
namespace {

using testing::AwaitCondition;
using testing::CountingLog;
using testing::Must;

// Of PostgreSQL: campaigns stop processes for longer.
constexpr absl::Duration kHungAfter = absl::Seconds(1);

// The first member as a zombie: when it is held, no poll reaches its client, and its polling thread
// stands still until somebody else has handled a message of its partitions; under claims, until
// somebody else has the very message that is in its handler.
struct Hold {
  std::atomic<bool> has_begun = false;
  std::atomic<bool> is_held = false;
  std::atomic<bool> was_succeeded = false;
  std::mutex mutex;
  std::set<std::int32_t> partitions;  // of the first member; under the mutex
  std::string id;                     // in its handler when it was held; under the mutex
  int invocations = 0;                // of the first member's handler
};

class HeldSource : public testing::ForwardingSource {
 public:
  HeldSource(std::unique_ptr<LogSource> inner, Hold& hold)
      : ForwardingSource(std::move(inner)), hold_(hold) {}

  absl::StatusOr<Batch> Poll(const PollOptions& options, SourceListener& listener) override {
    if (!hold_.is_held) return inner_->Poll(options, listener);
    AwaitCondition([&] { return hold_.was_succeeded.load(); });
    absl::SleepFor(absl::Milliseconds(1));
    return Batch();
  }

 private:
  Hold& hold_;
};

// A store that nothing reaches which would keep the leases of the held member alive.
class HeldClaims : public testing::ForwardingClaims {
 public:
  HeldClaims(ClaimStore& inner, Hold& hold) : ForwardingClaims(inner), hold_(hold) {}

  absl::Status Renew(std::span<const Claim> claims, absl::Duration lease,
                     std::span<absl::Status> outcomes) override {
    if (hold_.is_held) return absl::UnavailableError("the member is held");
    return inner_.Renew(claims, lease, outcomes);
  }

 private:
  Hold& hold_;
};

class HeldStore : public testing::ForwardingStore {
 public:
  HeldStore(const std::shared_ptr<DedupStore>& inner, Hold& hold)
      : ForwardingStore(inner), claims_(*inner->claims(), hold) {}
  ClaimStore* claims() override { return &claims_; }

 private:
  HeldClaims claims_;
};

// What a planted bug puts between the engine and the systems; nothing without one.
testing::Scenario PlantedIn(const std::string& name) {
  testing::Scenario scenario;
  if (name.empty()) return scenario;
  for (const testing::PlantedBug& bug : testing::AllPlantedBugs()) {
    if (bug.name != name) continue;
    if (bug.is_in_engine) {
      test_hooks::PlantBug(name);
    } else {
      bug.plant(scenario);
    }
    return scenario;
  }
  throw std::runtime_error("there is no planted bug " + name);
}

// Counts events, and passes on those that may tell why something went wrong.
class KeptLog : public CountingLog {
 public:
  explicit KeptLog(std::shared_ptr<LogSink> kept) : kept_(std::move(kept)) {}
  void Log(const LogEvent& event) override {
    CountingLog::Log(event);
    if (event.level >= kept_->level()) kept_->Log(event);
  }

 private:
  const std::shared_ptr<LogSink> kept_;
};

struct Member {
  explicit Member(std::shared_ptr<LogSink> kept)
      : log(std::make_shared<KeptLog>(std::move(kept))) {}

  std::shared_ptr<CountingLog> log;
  std::unique_ptr<Consumer> consumer;
  absl::Status status;
  std::atomic<bool> has_ended = false;
  std::jthread thread;  // last: joined first
};

class ConsumingProcess {
 public:
  explicit ConsumingProcess(ConsumerTask task)
      : task_(std::move(task)),
        bug_(PlantedIn(task_.bug)),
        history_(task_.history),
        log_(OpenLog(task_.history + kLogSuffix)) {
    store_ = OpenStore();
    if (task_.is_plain) file_ = std::make_unique<EffectsFile>(task_.effects);
    letters_ = Must(kafka::OpenDeadLetterTopic(
        {.brokers = task_.brokers, .partitions = 1, .properties = Connecting(), .log = log_}));
  }

  void Begin() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGTERM);
    // As a program would that is all consumer; else SIGTERM waits from the beginning.
    if (!is_plain_program()) pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    for (int i = 0; i < task_.members; ++i) members_.push_back(NewMember(i));
    Beat();  // ready to be stopped
  }

  int Run() {
    if (is_plain_program()) {
      members_[0]->status = RunUntilSignal(*members_[0]->consumer);
      return Report(0);
    }
    for (auto& member : members_) StartThread(*member);
    AwaitSignal();
    if (task_.empties_outbox && store_->transactions() != nullptr) AwaitEmptyOutbox();
    for (auto& member : members_) member->thread.request_stop();
    int code = 0;
    for (int i = 0; i < task_.members; ++i) {
      Member& member = *members_[static_cast<std::size_t>(i)];
      if (member.thread.joinable()) member.thread.join();
      code = std::max(code, Report(i));
    }
    return code;
  }

 private:
  bool is_plain_program() const { return task_.members == 1 && !task_.empties_outbox; }

  bool is_postgres() const { return !PlaceOf(task_.store).schema.empty(); }

  bool HasEndedByItself() const {
    return std::any_of(members_.begin(), members_.end(),
                       [](const auto& one) { return one->has_ended.load(); });
  }

  // For as long as whoever has started this process lets it live: he can look at what holds it up.
  // A member that has ended by itself publishes nothing any more.
  void AwaitEmptyOutbox() {
    const auto is_over = [this] {
      const auto pending = store_->transactions()->outbox().CountPending();
      return HasEndedByItself() || (pending.ok() && *pending == 0);
    };
    while (!AwaitCondition(is_over)) {
    }
  }

  // The end of a member and what it has counted, for the history; its share of the exit code.
  int Report(int number) {
    const Member& member = *members_[static_cast<std::size_t>(number)];
    const ConsumerStats stats = member.consumer->stats();
    history_.Invoke(
        number, "stats",
        absl::StrCat("{\"settled\":",
                     stats.processed + stats.duplicates + stats.dead_lettered + stats.discarded,
                     ",\"fenced\":", stats.fenced + stats.lease_lost,
                     ",\"rolled_back\":", member.log->count("store_rolled_back"), "}"));
    if (!member.status.ok()) std::cerr << member.status << "\n";
    return member.status.ok() ? 0 : 1;
  }

  kafka::Properties Connecting() const {
    if (task_.reconnect_ms == 0) return {};
    return {{"reconnect.backoff.max.ms", absl::StrCat(task_.reconnect_ms)}};
  }

  std::shared_ptr<DedupStore> OpenStore() {
    if (task_.store == "memory") return memory::OpenStore();
    if (is_postgres()) return Must(OpenPostgresPlace(task_.store, kHungAfter));
    SealSoon();
    return Must(sqlite::OpenStore(
        {.path = task_.store,
         .busy_timeout = absl::Seconds(1),
         .serve_operators = false,
         .setup = [this](sqlite3* connection) { return table_.Create(connection); }}));
  }

  std::unique_ptr<LogSource> Subscribe(int number) {
    const bool is_churning = task_.churn_ms > 0 && number == task_.members - 1;
    kafka::Properties properties = Connecting();
    properties.emplace_back("fetch.wait.max.ms", "20");
    std::unique_ptr<LogSource> source = Must(kafka::Subscribe(
        {.brokers = task_.brokers,
         .group = task_.group,
         .topics = {task_.topic},
         .assignment = task_.is_cooperative ? kafka::AssignmentStrategy::kCooperative
                                            : kafka::AssignmentStrategy::kEager,
         .instance_id =
             task_.instance.empty() || is_churning ? "" : absl::StrCat(task_.instance, "-", number),
         .session_timeout = absl::Milliseconds(task_.session_ms),
         .poll_interval_max = absl::Milliseconds(task_.poll_interval_ms),
         .properties = std::move(properties),
         .log = log_}));
    source = Record({history_, number}, std::move(source));
    if (bug_.wrap_source) source = bug_.wrap_source(std::move(source));
    if (task_.holds_at > 0 && number == 0) {
      source = std::make_unique<HeldSource>(std::move(source), hold_);
    }
    return source;
  }

  LossOptions Losses() const {
    if (task_.gap_grace_ms == 0) return {};
    return {.mode = LossMode::kReport,
            .gap_grace = absl::Milliseconds(task_.gap_grace_ms),
            .marks = Must(kafka::OpenMarks(
                {.brokers = task_.brokers, .properties = Connecting(), .log = log_}))};
  }

  std::unique_ptr<Member> NewMember(int number) {
    auto member = std::make_unique<Member>(log_);
    const Recorder recorder{history_, number};
    std::shared_ptr<DedupStore> store = Record(recorder, store_);
    if (bug_.wrap_store) store = bug_.wrap_store(std::move(store));
    if (task_.is_plain && task_.holds_at > 0 && number == 0) {
      store = std::make_shared<HeldStore>(store, hold_);
    }
    DeadLetterSink letters = letters_;
    letters.publisher = Record(recorder, letters.publisher);
    if (bug_.wrap_publisher) letters.publisher = bug_.wrap_publisher(letters.publisher);
    ConsumerOptions options{
        .source = Subscribe(number),
        .store = std::move(store),
        .id = HeaderId(kIdHeader),
        .retry = {.max_attempts = kAttemptsMax,
                  .backoff = {.initial = absl::Milliseconds(task_.retry_ms), .jitter = 0}},
        .dead_letters = std::move(letters),
        .out_of_range = task_.gap_grace_ms > 0 ? OutOfRange::kEarliest : OutOfRange::kStop,
        .claims = {.lease = absl::Milliseconds(task_.lease_ms)},
        .loss = Losses(),
        .limits = {.batch_messages_max = static_cast<std::size_t>(task_.batch_messages_max)},
        .times = {.pause_after = absl::Milliseconds(100),
                  .revoke_budget = absl::Milliseconds(task_.poll_interval_ms) / 4,
                  .commit_interval = absl::Milliseconds(task_.hint_ms)},
        .log = member->log};
    const auto handle = [this, recorder](const Message& message, Transaction* transaction) {
      RecordedInvocation invocation(recorder, message);
      Outcome outcome = Handle(recorder.member, message, transaction);
      invocation.End(outcome.status());
      return outcome;
    };
    if (task_.is_plain) {
      member->consumer =
          Must(Consumer::Create(std::move(options), [handle](const Message& message) -> Outcome {
            return handle(message, nullptr);
          }));
    } else {
      member->consumer = Must(
          Consumer::Create(std::move(options),
                           [handle](const Message& message, Transaction& transaction) -> Outcome {
                             return handle(message, &transaction);
                           }));
    }
    return member;
  }

  static void StartThread(Member& member) {
    member.thread = std::jthread([&member](std::stop_token stop) {
      member.status = member.consumer->Run(std::move(stop));
      member.has_ended = true;
    });
  }

  // Until SIGTERM, or until a member has ended by itself.
  void AwaitSignal() {
    absl::Time next_churn = absl::Now() + absl::Milliseconds(task_.churn_ms);
    const timespec moment{.tv_sec = 0, .tv_nsec = 20'000'000};
    while (sigtimedwait(&signals_, nullptr, &moment) != SIGTERM) {
      if (HasEndedByItself()) return;
      if (task_.churn_ms == 0 || absl::Now() < next_churn) continue;
      next_churn = absl::Now() + absl::Milliseconds(task_.churn_ms);
      const int last = task_.members - 1;
      members_.back()->thread.request_stop();
      members_.back()->thread.join();
      members_.back() = NewMember(last);
      StartThread(*members_.back());
    }
  }

  Outcome Handle(int member, const Message& message, Transaction* transaction) {
    const int invocation = ++invocations_;
    if (invocation % task_.invocations_per_beat == 0) Beat();
    if (invocation == task_.stops_at) {
      kill(getpid(), SIGTERM);
      absl::SleepFor(absl::Milliseconds(300));  // until the batch knows that it is to end
    }
    if (task_.holds_at > 0) PassHold(member, message);
    if (!task_.poison.empty() && message.id() == task_.poison) raise(SIGKILL);
    const std::optional<char> kind = KindOf(message.value().value_or(""));
    if (!kind) return Reject("a value that no workload gives");
    if (*kind == 's') return Skip("to be skipped");
    const bool is_last = *kind == 'p' || (*kind == 'f' && message.attempt() > 1) ||
                         (task_.takes_all && IsBuried(*kind));
    // In a transaction a failing handler has its effect too, which must be rolled back.
    if (transaction != nullptr) {
      const absl::Status booked = Book(message, *transaction);
      if (!booked.ok()) return booked;
    } else if (is_last) {
      const absl::Status booked = file_->Book(EffectOf(message));
      if (!booked.ok()) return booked;
    }
    if (is_last) return Done();
    return *kind == 'r' ? Reject("to be rejected") : Retry("to be tried again");
  }

  absl::Status Book(const Message& message, Transaction& transaction) {
    if (is_postgres()) return BookInPostgres(transaction, EffectOf(message));
    // Null once the store has ended the transaction by itself.
    if (sqlite::Connection(testing::Innermost(transaction)) == nullptr) {
      return absl::UnavailableError("no open transaction of the store");
    }
    return table_.Book(EffectOf(message));
  }

  // The first member waits in mid-handler until its partitions are somebody else's.
  void PassHold(int member, const Message& message) {
    // Slow until then: the others must leave something for the first member to hold.
    if (!hold_.has_begun) absl::SleepFor(absl::Microseconds(500));
    if (member != 0) {
      if (!hold_.is_held) return;
      const std::lock_guard lock(hold_.mutex);
      const bool is_successor = task_.is_plain ? message.id() == hold_.id
                                               : hold_.partitions.contains(message.partition());
      if (is_successor) hold_.was_succeeded = true;
      return;
    }
    {
      const std::lock_guard lock(hold_.mutex);
      hold_.partitions.insert(message.partition());
      hold_.id = message.id();
    }
    if (++hold_.invocations != task_.holds_at) return;
    StandStill();
  }

  void StandStill() {
    const auto assigned = [this] {
      int count = 0;
      for (std::size_t i = 1; i < members_.size(); ++i)
        count += members_[i]->log->count("assigned");
      return count;
    };
    const int before = assigned();
    hold_.is_held = true;
    hold_.has_begun = true;
    AwaitCondition(
        [&] { return task_.is_plain ? hold_.was_succeeded.load() : assigned() > before; });
    // It notices once it has been refused, which its next transaction must be, or its claim.
    releaser_ = std::jthread([this] {
      const char* const refusal = task_.is_plain ? "lease_lost" : "fenced";
      AwaitCondition([this, refusal] { return members_[0]->log->count(refusal) > 0; });
      hold_.is_held = false;
    });
  }

  const ConsumerTask task_;
  const testing::Scenario bug_;
  sigset_t signals_{};
  History history_;
  const std::shared_ptr<LogSink> log_;
  Hold hold_;
  std::shared_ptr<DedupStore> store_;
  EffectsTable table_;  // before the store goes
  std::unique_ptr<EffectsFile> file_;
  DeadLetterSink letters_;
  std::atomic<int> invocations_ = 0;
  std::vector<std::unique_ptr<Member>> members_;
  std::jthread releaser_;
};

}  // namespace

int Consume(const Json& task) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int code = kCouldNotBegin;
  try {
    ConsumingProcess process(nlohmann::json(task).get<ConsumerTask>());
    process.Begin();
    code = 1;
    return process.Run();
  } catch (const std::exception& error) {
    std::cerr << "consuming: " << error.what() << "\n";
    return code;
  }
}

}  // namespace once::campaign
