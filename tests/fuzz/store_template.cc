// Filling a store, and taking its files away while it is open.
#include "tests/fuzz/store_template.h"

#include <sqlite3.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/fuzz/fuzz_target.h"

namespace once::testing {
namespace {

constexpr int kIds = 300;  // deep enough a tree at kPageBytes
constexpr int kTail = 12;
constexpr int kPageBytes = 1024;
constexpr const char* kScope = "g7:billing/orders";
constexpr const char* kNamedScope = "n:refunds";

PartitionKey Partition(std::int32_t number) {
  return {.cluster = "cluster-1", .group = "billing", .partition = {"orders", number}};
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// Small pages: what takes a store of millions of ids otherwise lies in a file that is damaged and
// read thousands of times a minute.
void MakeSmallPages(const std::string& path) {
  sqlite3* connection = nullptr;
  sqlite3_open(path.c_str(), &connection);
  const std::string sql =
      absl::StrCat("PRAGMA page_size = ", kPageBytes, "; PRAGMA journal_mode = WAL; VACUUM");
  const int code = sqlite3_exec(connection, sql.c_str(), nullptr, nullptr, nullptr);
  sqlite3_close(connection);
  Require(code == SQLITE_OK, "a file with small pages can be made");
}

std::shared_ptr<DedupStore> MustOpen(const std::string& path) {
  auto store = sqlite::OpenStore(TestOptions(path));
  Require(store.ok(), "an undamaged store can be opened");
  return *std::move(store);
}

OutboxRow LetterOf(const std::string& id, std::int64_t offset) {
  return {.origin = {.key = Partition(0), .offset = offset, .timestamp_ms = 1'700, .scope = kScope},
          .message = {.topic = "orders.billing.dlq",
                      .key = "key",
                      .value = "value of " + id,
                      .headers = {{"once-id", id}, {"once-disposition", "rejected"}}},
          .scope = kScope,
          .id = id};
}

// Every state that a transaction writes, letters, and a redrive's predecessor.
std::vector<KnownId> AddRecords(DedupStore& store) {
  constexpr IdState kStates[] = {IdState::kCompleted, IdState::kCompleted, IdState::kCompleted,
                                 IdState::kRetrying,  IdState::kDead,      IdState::kDiscarded,
                                 IdState::kUncertain};
  std::vector<KnownId> ids;
  for (int i = 0; i < kIds; ++i) {
    ids.push_back({.scope = i % 10 == 0 ? kNamedScope : kScope,
                   .id = absl::StrCat("order ", i * 7919 % 100'000, " of the year"),
                   .state = kStates[static_cast<std::size_t>(i) % std::size(kStates)]});
  }
  std::vector<IdWrite> writes;
  std::vector<OutboxRow> rows;
  for (const KnownId& known : ids) {
    writes.push_back(
        {.key = {known.scope, known.id},
         .record = {.state = known.state,
                    .fingerprint = Fingerprint::Of(known.id),
                    .attempt = 2,
                    .first_failed_at = known.state == IdState::kCompleted ? absl::InfinitePast()
                                                                          : absl::UnixEpoch()}});
    if (known.state == IdState::kDead && rows.size() < 6) {
      rows.push_back(LetterOf(known.id, static_cast<std::int64_t>(writes.size())));
    }
  }
  auto begun = store.transactions()->Begin({});
  Require(begun.ok() && begun->transaction->PutIds(writes).ok() &&
              begun->transaction->PutOutgoing(rows).ok() &&
              begun->transaction->Commit(Durability::kMachine).ok(),
          "records can be written");
  return ids;
}

// A claim of each kind: held, begun, completed with a result, dying with a letter.
void AddClaims(DedupStore& store, std::vector<KnownId>& ids) {
  ClaimStore& claims = *store.claims();
  for (int i = 0; i < 12; ++i) {
    ids.push_back({.scope = kScope, .id = absl::StrCat("claimed ", i)});
    const KnownId& known = ids.back();
    const ClaimRequest request{.key = {known.scope, known.id},
                               .fingerprint = Fingerprint::Of(known.id),
                               .fence = claims.NewFence()};
    const Claim claim{.key = request.key, .fence = request.fence};
    ClaimResult result;
    absl::Status outcome;
    Require(claims.TryClaim({&request, 1}, absl::Hours(1), {&result, 1}).ok(),
            "ids can be claimed");
    if (i % 4 > 0) Require(claims.Begun({&claim, 1}, {&outcome, 1}).ok(), "claims can begin");
    if (i % 4 == 2) {
      const CompletedClaim completed{.claim = claim, .result = "what the function returned"};
      Require(claims.Complete({&completed, 1}, {&outcome, 1}).ok(), "claims can complete");
    }
    if (i % 4 == 3) {
      const OutboxRow letter = LetterOf(known.id, 1000 + i);
      const DyingClaim dying{.claim = claim, .attempt = 1, .letter = &letter};
      Require(claims.Dying({&dying, 1}, {&outcome, 1}).ok(), "claims can die");
    }
    Require(outcome.ok(), "a claim is its owner's");
  }
}

// One transaction per id, each with the position behind it.
std::vector<KnownId> AddTail(DedupStore& store, const PartitionKey& partition) {
  const TakeRequest take{.key = partition, .writer = 7};
  const auto taken = store.transactions()->Take({&take, 1});
  Require(taken.ok(), "the row can be taken");
  PositionStamp stamp = taken->front().current;
  std::vector<KnownId> tail;
  for (int i = 0; i < kTail; ++i) {
    tail.push_back({.scope = kScope,
                    .id = absl::StrCat("order ", i * 8111 % 100'000, " of the tail"),
                    .state = IdState::kCompleted});
    const PositionLock lock{.key = partition, .expected = stamp};
    const IdWrite write{.key = {tail.back().scope, tail.back().id},
                        .record = {.state = IdState::kCompleted}};
    const PositionUpdate update{.key = partition, .position = i + 1, .reach = i + 1};
    auto begun = store.transactions()->Begin({&lock, 1});
    Require(begun.ok() && begun->transaction != nullptr &&
                begun->transaction->PutIds({&write, 1}).ok() &&
                begun->transaction->SetPositions({&update, 1}).ok() &&
                begun->transaction->Commit(Durability::kMachine).ok(),
            "the tail can be written");
    stamp = {.position = i + 1, .revision = stamp.revision + 1, .writer = stamp.writer};
  }
  return tail;
}

}  // namespace

sqlite::StoreOptions TestOptions(const std::string& path) {
  return {.path = path,
          .synchronous = sqlite::Synchronous::kOff,
          .busy_timeout = absl::ZeroDuration(),
          .serve_operators = false,
          .now = [] { return absl::UnixEpoch() + absl::Hours(24); }};
}

void WriteStore(const StoreBytes& bytes, const std::string& path) {
  std::filesystem::remove(path + "-shm");
  WriteFile(path, bytes.database);
  WriteFile(path + "-wal", bytes.wal);
  WriteFile(path + ".once-lock", bytes.lock);
}

absl::StatusOr<std::vector<IdRecord>> FindRecords(DedupStore& store,
                                                  const std::vector<KnownId>& ids) {
  std::vector<IdKey> keys;
  for (const KnownId& known : ids) keys.push_back({.scope = known.scope, .id = known.id});
  std::vector<IdRecord> records(ids.size());
  auto begun = store.transactions()->Begin({});
  if (!begun.ok()) return begun.status();
  const absl::Status found = begun->transaction->FindIds(keys, records);
  begun->transaction->Rollback();
  if (!found.ok()) return found;
  return records;
}

StoreTemplate MakeStoreTemplate(const std::string& folder) {
  const std::string path = folder + "/template.db";
  StoreTemplate made{.partition = Partition(1)};
  MakeSmallPages(path);
  auto store = MustOpen(path);
  made.store_id = store->traits().id;
  made.ids = AddRecords(*store);
  AddClaims(*store, made.ids);
  store.reset();  // moves everything to the database file
  store = MustOpen(path);
  made.tail = AddTail(*store, made.partition);
  made.bytes = {ReadFile(path), ReadFile(path + "-wal"), ReadFile(path + ".once-lock")};
  store.reset();

  // What claims that are over look like is for the store to say.
  WriteStore(made.bytes, path);
  store = MustOpen(path);
  const auto records = FindRecords(*store, made.ids);
  Require(records.ok(), "an undamaged store knows its ids");
  for (std::size_t i = 0; i < made.ids.size(); ++i) made.ids[i].state = (*records)[i].state;
  return made;
}

}  // namespace once::testing
