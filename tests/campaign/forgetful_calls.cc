// Numbers are ids, positions and log times at once.
#include "tests/campaign/forgetful_calls.h"

#include <signal.h>
#include <sys/prctl.h>

#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "adapters/postgres/tests/test_server.h"
#include "once/abseil.h"
#include "once/postgres/store.h"
#include "tests/campaign/postgres_kind.h"
#include "tests/integration/consumer_group.h"

namespace once::campaign {
namespace {

using postgres::testing::RunSql;
using testing::Must;

constexpr int kIds = 400;
constexpr int kComesAgainAfter = 60;  // less than the retention
constexpr absl::Duration kRetention = absl::Seconds(100);
constexpr int kDeadOneIn = 20;
// Longer than a bucket: the store gets the time to close one.
constexpr int kIdsBetweenRests = 30;
constexpr int kTriesMax = 100;
constexpr int kRestsMax = 3'000;
constexpr absl::Duration kRest = absl::Milliseconds(5);

std::string IdOf(int number) { return absl::StrFormat("id-%04d", number); }
bool IsDead(int number) { return number % kDeadOneIn == kDeadOneIn - 1; }

PartitionKey Key() {
  return {.cluster = "cluster", .group = "group", .partition = {"forgetful", 0}};
}

IdRecord MustFind(StoreTransaction& transaction, const std::string& id) {
  const IdKey key{"scope", id};
  IdRecord record;
  if (absl::Status found = transaction.FindIds({&key, 1}, {&record, 1}); !found.ok()) {
    throw std::runtime_error(found.ToString());
  }
  return record;
}

class Settler {
 public:
  explicit Settler(const Json& task) : place_(PlaceOf(task.at("store"))) {
    store_ = Must(postgres::OpenStore({.connection = place_.connection,
                                       .schema = place_.schema,
                                       .lock_timeout = absl::Milliseconds(900),
                                       .retention = kRetention}));
  }

  void Run() {
    int tries = 0;
    while (Take() < kIds) {
      if (!SettleAll().ok() && ++tries == kTriesMax) throw std::runtime_error("it does not settle");
    }
    // Everything that is old enough, and a quarter of the retention later than that.
    AwaitUntil([&] { return MustFindAlone(IdOf(0)).state == IdState::kAbsent; });
  }

 private:
  // The number that comes next.
  int Take() {
    const TakeRequest take{.key = Key(), .writer = 7};
    stamp_ = Must(store_->transactions()->Take({&take, 1})).front().current;
    return static_cast<int>(stamp_.position);
  }

  absl::Status SettleAll() {
    for (auto number = static_cast<int>(stamp_.position); number < kIds; ++number) {
      if (number % kIdsBetweenRests == 0) AwaitBucket();
      if (absl::Status settled = Settle(number); !settled.ok()) return settled;
    }
    return absl::OkStatus();
  }

  absl::Status Settle(int number) {
    const PositionLock lock{.key = Key(), .expected = stamp_};
    auto begun = store_->transactions()->Begin({&lock, 1});
    if (!begun.ok()) return begun.status();
    if (!begun->transaction) return absl::AbortedError("somebody else has the row");
    for (const int one : {number - kComesAgainAfter, number}) {
      if (one < 0) continue;
      if (absl::Status handled = Handle(*begun->transaction, one); !handled.ok()) return handled;
    }
    const PositionUpdate update{
        .key = Key(),
        .position = number + 1,
        .reach = number + 1,
        .last_applied = AppliedRecord{.offset = number, .log_time_ms = 1000 * number}};
    if (absl::Status set = begun->transaction->SetPositions({&update, 1}); !set.ok()) return set;
    absl::Status committed = begun->transaction->Commit(Durability::kProcess);
    if (!committed.ok()) return committed;
    stamp_ = {.position = number + 1, .revision = stamp_.revision + 1, .writer = 7};
    return absl::OkStatus();
  }

  // As a consumer does: what is known is not handled again.
  static absl::Status Handle(StoreTransaction& transaction, int number) {
    const std::string id = IdOf(number);
    const IdKey key{"scope", id};
    IdRecord record;
    if (absl::Status found = transaction.FindIds({&key, 1}, {&record, 1}); !found.ok()) {
      return found;
    }
    if (record.state != IdState::kAbsent) return absl::OkStatus();
    if (!IsDead(number)) {
      const auto booked =
          postgres::Connection(transaction)
              .Execute("INSERT INTO effects(id, body) VALUES($1, '')", {std::string_view(id)});
      if (!booked.ok()) return booked.status();
    }
    const IdState state = IsDead(number) ? IdState::kDead : IdState::kCompleted;
    const IdWrite write{.key = key, .record = {.state = state, .attempt = 1}};
    return transaction.PutIds({&write, 1});
  }

  IdRecord MustFindAlone(const std::string& id) {
    const BeginResult begun = Must(store_->transactions()->Begin({}));
    return MustFind(*begun.transaction, id);
  }

  // The current bucket was begun less than a fourth of the retention ago.
  void AwaitBucket() {
    const std::string newest =
        absl::StrCat("SELECT log_time_min_ms >= ", 1000 * (stamp_.position - kIdsBetweenRests),
                     " FROM ", place_.schema, ".buckets ORDER BY bucket DESC LIMIT 1");
    if (stamp_.position == 0) return;
    AwaitUntil([&] { return RunSql(place_.connection, newest)[0][0] == "t"; });
  }

  template <typename Condition>
  static void AwaitUntil(Condition is_so) {
    for (int i = 0; i < kRestsMax; ++i) {
      if (is_so()) return;
      absl::SleepFor(kRest);
    }
    throw std::runtime_error("the store does not close or drop its buckets");
  }

  const PostgresPlace place_;
  std::shared_ptr<DedupStore> store_;
  PositionStamp stamp_;
};

}  // namespace

int SettleForgetfully(const Json& task) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    Settler(task).Run();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "settling: " << error.what() << "\n";
    return 1;
  }
}

std::vector<std::string> JudgeForgetful(const std::string& store) {
  std::vector<std::string> wrong;
  const PostgresPlace place = PlaceOf(store);
  std::map<std::string, int> effects;
  for (const auto& row :
       RunSql(place.connection, "SELECT id FROM " + place.schema + "_effects.effects")) {
    ++effects[row[0]];
  }
  const auto opened = Must(OpenPostgresPlace(store));
  const BeginResult begun = Must(opened->transactions()->Begin({}));
  const auto kept = static_cast<int>(kRetention / absl::Seconds(1));
  for (int number = 0; number < kIds; ++number) {
    const std::string id = IdOf(number);
    const int wanted = IsDead(number) ? 0 : 1;
    if (effects[id] != wanted) {
      wrong.push_back(absl::StrCat(id, " has ", effects[id], " effects, not ", wanted));
    }
    const IdState state = MustFind(*begun.transaction, id).state;
    const bool is_young = number >= kIds - kept;
    const bool is_right = IsDead(number) ? state == IdState::kDead
                          : is_young     ? state == IdState::kCompleted
                          : number == 0  ? state == IdState::kAbsent
                                         : true;
    if (!is_right) wrong.push_back(absl::StrCat(id, " is ", ToAbsl(ToString(state))));
  }
  return wrong;
}

}  // namespace once::campaign
