// A SQLite store whose files were damaged: flips, cuts, splices. Whatever the damage, nothing
// crashes, no store is begun anew in the place of the old one, and
//   - with integrity_check, no id is answered absent while the file still has a row of it, and what
//     is committed then is found again;
//   - damage to the -wal alone loses whole transactions from the end, never one in the middle, as a
//     power failure would;
//   - what is answered is in the file.
// Ids have checksums, so that what the damage made of one of them is never answered. Of positions
// and letters nobody can know: SQLite keeps no checksums of pages.
#include <sqlite3.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "adapters/sqlite/connection_ids.h"
#include "once/testing/oracle.h"
#include "src/stores/claim_codec.h"
#include "src/stores/id_log/id_log.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/store_template.h"
#include "tests/scratch_folder.h"

namespace once::testing {
namespace {

constexpr int kChangesMax = 16;
constexpr std::size_t kPageBytes = 1024;  // of the template

struct Scene {
  ScratchFolder folder;
  std::string path = folder.File("store.db");
  StoreTemplate whole = MakeStoreTemplate(folder.path());
};

const Scene& TheScene() {
  static const Scene scene;  // its folder goes at exit
  return scene;
}

// One change of one file; nothing is done where it is too short.
void ChangeFile(FuzzInput& input, const std::string& other, std::string& file) {
  const auto verb = input.Take<std::uint8_t>() % 9;
  const std::size_t at = input.TakeBelow(file.size() + 1);
  const std::size_t room = file.size() - at;
  switch (verb) {
    case 0:
    case 1: {
      const int bit = input.Take<std::uint8_t>() % 8;
      if (room > 0) file[at] = static_cast<char>(file[at] ^ (1 << bit));
      return;
    }
    case 2: {
      const auto byte = input.Take<std::uint8_t>();
      if (room > 0) file[at] = static_cast<char>(byte);
      return;
    }
    case 3:
      file.resize(at);
      return;
    case 4: {  // another part of the same file
      const std::size_t from = input.TakeBelow(file.size() + 1);
      const std::string part = file.substr(from, std::min(room, input.TakeBelow(256)));
      file.replace(at, part.size(), part);
      return;
    }
    case 5: {
      const std::size_t size = std::min(room, input.TakeBelow(kPageBytes + 1));
      file.replace(at, size, size, '\0');
      return;
    }
    case 6: {  // a page in another's place
      const std::size_t from = input.TakeBelow(other.size() / kPageBytes + 1) * kPageBytes;
      const std::string page = other.substr(std::min(from, other.size()), kPageBytes);
      file.replace(at / kPageBytes * kPageBytes, page.size(), page);
      return;
    }
    case 7: {
      const std::string_view text = input.TakeText().substr(0, room);
      file.replace(at, text.size(), text);
      return;
    }
    default:
      file.append(input.TakeText());
  }
}

// Ids as a reader finds them who walks through the file from end to end.
class Walk {
 public:
  explicit Walk(const std::string& path) {
    sqlite3* connection = nullptr;
    sqlite3_open_v2(path.c_str(), &connection, SQLITE_OPEN_READONLY, nullptr);
    is_whole_ = ReadAll(connection, path).ok();
    sqlite3_close(connection);
  }

  // False: something could not be read, so that there may be more.
  bool is_whole() const { return is_whole_; }
  bool Holds(const KnownId& known) const { return states_.contains({known.scope, known.id}); }
  // What was begun and is held by nobody is seen otherwise than it was written.
  bool Holds(const KnownId& known, IdState state) const {
    const auto found = states_.find({known.scope, known.id});
    return found != states_.end() && (found->second.has_claim || found->second.state == state);
  }

 private:
  absl::Status ReadAll(sqlite3* connection, const std::string& path) {
    sqlite::ConnectionIds storage;
    if (absl::Status prepared = storage.Prepare(connection, path); !prepared.ok()) return prepared;
    const auto ids = stores::IdLog::Open(storage, {});
    if (!ids.ok()) return ids.status();
    return (*ids)->ForEach([&](const IdKey& key, const IdRecord& record, std::string_view extra) {
      // A claim that has not begun leaves nothing behind.
      if (record.state == IdState::kAbsent && !stores::DecodeClaim(extra)->is_begun) {
        return absl::OkStatus();
      }
      states_[{std::string(key.scope), std::string(key.id)}] = {.state = record.state,
                                                                .has_claim = !extra.empty()};
      return absl::OkStatus();
    });
  }

  struct Found {
    IdState state = IdState::kAbsent;
    bool has_claim = false;
  };
  bool is_whole_ = false;
  std::map<std::pair<std::string, std::string>, Found> states_;
};

void CheckRecord(const KnownId& known, IdState state, const Walk& walk, bool is_checked) {
  if (state == IdState::kAbsent) {
    Require(!is_checked || !walk.Holds(known), "what has a row is not absent");
  } else {
    Require(!walk.is_whole() || walk.Holds(known, state), "what is answered is in the file");
  }
}

void CheckIds(DedupStore& store, const std::vector<KnownId>& ids, const Walk& walk,
              bool is_checked) {
  const auto all = FindRecords(store, ids);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    // One that cannot be read must not hide what is said of the others.
    if (all.ok()) {
      CheckRecord(ids[i], (*all)[i].state, walk, is_checked);
    } else if (const auto one = FindRecords(store, {ids[i]}); one.ok()) {
      CheckRecord(ids[i], one->front().state, walk, is_checked);
    }
  }
}

// The database file is as it was.
void CheckTail(DedupStore& store, const StoreTemplate& whole) {
  const auto records = FindRecords(store, whole.ids);
  Require(records.ok(), "ids outside the -wal can be read");
  for (std::size_t i = 0; i < whole.ids.size(); ++i) {
    Require((*records)[i].state == whole.ids[i].state, "ids outside the -wal are as they were");
  }
  const auto tail = FindRecords(store, whole.tail);
  const auto stamps = store.transactions()->ReadPositions({&whole.partition, 1});
  Require(tail.ok() && stamps.ok(), "what is left of the -wal can be read");
  const auto is_lost = [](const IdRecord& record) { return record.state == IdState::kAbsent; };
  const auto end = std::find_if(tail->begin(), tail->end(), is_lost);
  Require(std::all_of(end, tail->end(), is_lost), "transactions are lost from the end only");
  const std::int64_t kept = end - tail->begin();
  const std::int64_t position = stamps->front() ? stamps->front()->position : 0;
  Require(kept == position, "a transaction is lost as a whole");
}

void UseClaims(ClaimStore& claims, const std::vector<KnownId>& ids) {
  for (std::size_t i = 0; i < ids.size(); i += 29) {
    const ClaimRequest request{.key = {ids[i].scope, ids[i].id}, .fence = claims.NewFence()};
    const Claim claim{.key = request.key, .fence = request.fence};
    const CompletedClaim completed{.claim = claim, .result = "result"};
    const OutboxRow letter{.message = {.topic = "dlq"}};
    const DyingClaim dying{.claim = claim, .letter = &letter};
    ClaimResult result;
    absl::Status outcome;
    claims.TryClaim({&request, 1}, absl::Hours(1), {&result, 1}).IgnoreError();
    claims.Begun({&claim, 1}, {&outcome, 1}).IgnoreError();
    if (i % 2 == 0) claims.Complete({&completed, 1}, {&outcome, 1}).IgnoreError();
    if (i % 2 != 0) claims.Dying({&dying, 1}, {&outcome, 1}).IgnoreError();
    claims.Kill({&claim, 1}, {&outcome, 1}).IgnoreError();
  }
  claims.Sync().IgnoreError();
}

void UseOperations(StoreOperations& operations, const PartitionKey& partition) {
  static_cast<void>(operations.ListPositions());
  operations.OrderPosition({.key = partition, .position = 3, .writer = 5}).IgnoreError();
  const auto letters = operations.FindFailures({});
  if (!letters.ok()) return;
  for (const StoredFailure& failure : *letters) {
    static_cast<void>(operations.FindId(failure.id));
    operations.Redrive({.number = failure.number, .row = {.message = failure.letter}})
        .IgnoreError();
    operations.DropLetter(failure.number).IgnoreError();
  }
}

// Everything that writes. Errors are fine; a commit that is reported is kept.
void Use(DedupStore& store, const StoreTemplate& whole, bool is_checked) {
  TransactionalStore& transactions = *store.transactions();
  const std::vector<KnownId> fresh = {{.scope = "n:new", .id = "a new one"},
                                      {.scope = whole.ids[0].scope, .id = "another one"}};
  auto begun = transactions.Begin({});
  if (begun.ok()) {
    absl::Status status;
    for (const KnownId& known : fresh) {
      const IdWrite write{.key = {known.scope, known.id}, .record = {.state = IdState::kCompleted}};
      status.Update(begun->transaction->PutIds({&write, 1}));
    }
    if (status.ok()) status = begun->transaction->Commit(Durability::kMachine);
    const auto records = FindRecords(store, fresh);
    for (std::size_t i = 0; status.ok() && records.ok() && i < fresh.size(); ++i) {
      Require(!is_checked || (*records)[i].state == IdState::kCompleted,
              "what was committed is there");
    }
  }
  begun = absl::CancelledError();
  const TakeRequest take{.key = whole.partition, .writer = 11};
  static_cast<void>(transactions.Take({&take, 1}));
  UseClaims(*store.claims(), whole.ids);
  const auto pending = transactions.outbox().FindPending(100);
  static_cast<void>(transactions.outbox().CountPending());
  for (std::size_t i = 0; pending.ok() && i < pending->size(); ++i) {
    const std::int64_t sequence = (*pending)[i].sequence;
    if (i % 2 == 0) transactions.outbox().MarkPublished({&sequence, 1}).IgnoreError();
    if (i % 2 != 0) transactions.outbox().Park(sequence, absl::InternalError("x")).IgnoreError();
  }
  UseOperations(*store.operations(), whole.partition);
}

void Check(FuzzInput& input) {
  const Scene& scene = TheScene();
  const StoreTemplate& whole = scene.whole;
  const bool is_checked = input.TakeBool();
  StoreBytes damaged = whole.bytes;
  for (int i = 0; i < kChangesMax && !input.is_empty(); ++i) {
    const bool is_database = input.TakeBool();
    std::string& file = is_database ? damaged.database : damaged.wal;
    ChangeFile(input, is_database ? whole.bytes.wal : whole.bytes.database, file);
  }
  WriteStore(damaged, scene.path);
  sqlite::StoreOptions options = TestOptions(scene.path);
  options.integrity_check = is_checked;
  auto store = sqlite::OpenStore(std::move(options));
  const bool is_database_whole = damaged.database == whole.bytes.database;
  Require(store.ok() || !is_database_whole, "a damaged -wal is no reason to refuse the store");
  if (!store.ok()) {
    Require(std::filesystem::file_size(scene.path) > 0 || damaged.database.empty(),
            "a refused file is left alone");
    return;
  }
  Require((*store)->traits().id == whole.store_id, "no store is begun in the place of another");
  {
    const Walk walk(scene.path);
    CheckIds(**store, whole.ids, walk, is_checked);
    CheckIds(**store, whole.tail, walk, is_checked);
  }
  if (is_database_whole) CheckTail(**store, whole);
  Use(**store, whole, is_checked);
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  std::vector<std::string> seeds;
  SplitMix random(1);
  // Each verb on each file, with and without the check, at places that nobody chose.
  for (std::uint8_t number = 0; number < 72; ++number) {
    SeedWriter seed;
    seed.Put(static_cast<std::uint8_t>(number & 1)).Put(static_cast<std::uint8_t>(number / 2 & 1));
    seed.Put(static_cast<std::uint8_t>(number / 4 % 9));
    seed.Put(static_cast<std::uint32_t>(random.Next()))
        .Put(static_cast<std::uint32_t>(random.Next()));
    seed.Put(static_cast<std::uint32_t>(random.Next()));
    seeds.push_back(seed.seed());
  }
  seeds.push_back(SeedWriter().Put<std::uint8_t>(1).seed());  // no damage at all
  return seeds;
}

}  // namespace once::testing

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  once::testing::FuzzInput input(data, size);
  once::testing::Check(input);
  return 0;
}
