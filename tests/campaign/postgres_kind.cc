// Places, what lies in them, and wrappers that spoil a store.
#include "tests/campaign/postgres_kind.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "adapters/postgres/tests/test_server.h"
#include "once/postgres/store.h"
#include "tests/forwarding_seams.h"

namespace once::campaign {
namespace {

using postgres::testing::RunSql;

class UnsyncedTransaction final : public testing::ForwardingTransaction {
 public:
  using ForwardingTransaction::ForwardingTransaction;
  absl::Status Commit(Durability /*wanted*/) override {
    return inner_->Commit(Durability::kProcess);
  }
};

class KnowingTransaction final : public testing::ForwardingTransaction {
 public:
  using ForwardingTransaction::ForwardingTransaction;
  absl::Status Commit(Durability wanted) override {
    const absl::Status committed = inner_->Commit(wanted);
    return absl::IsUnknown(committed) ? absl::UnavailableError(committed.message()) : committed;
  }
};

template <typename WrongTransaction>
class WrongCommits final : public testing::ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;
  absl::StatusOr<BeginResult> Begin(std::span<const PositionLock> locks) override {
    absl::StatusOr<BeginResult> begun = inner().Begin(locks);
    if (begun.ok() && begun->transaction != nullptr) {
      begun->transaction = std::make_unique<WrongTransaction>(std::move(begun->transaction));
    }
    return begun;
  }
};

class ForgetfulClaims final : public testing::ForwardingClaims {
 public:
  using ForwardingClaims::ForwardingClaims;
  absl::Status Sync() override {
    inner_.Sync().IgnoreError();
    return absl::OkStatus();
  }
};

// Rows as they are, but for numbers that each opening and each server chooses anew, and times.
constexpr const char* kRows[] = {
    "SELECT 'position ' || (to_jsonb(p) - 'revision' - 'writer')::text FROM @.positions p",
    "SELECT 'id ' || (to_jsonb(i) - 'fence_incarnation' - 'fence_counter' - 'lease_end' - 'bucket' "
    "- "
    "'not_before' || jsonb_build_object('waits', not_before IS NOT NULL))::text FROM @.known_ids i",
    "SELECT 'letter ' || (to_jsonb(o) - 'sequence')::text FROM @.outbox o",
    "SELECT 'scope ' || to_jsonb(s)::text FROM @.scopes s",
    "SELECT 'effects ' || id || ' of ' || octet_length(body) FROM @_effects.effects",
};

class Postgres final : public StoreKind {
 public:
  explicit Postgres(PostgresFault fault) : fault_(fault) {}

  std::string_view name() const override { return "postgres"; }

  absl::StatusOr<std::shared_ptr<DedupStore>> Open(const std::string& path,
                                                   std::uint64_t /*seed*/) const override {
    auto store = OpenPostgresPlace(path);
    if (!store.ok()) return store.status();
    return Spoil(fault_, *std::move(store));
  }

  absl::Status AddEffect(Transaction& transaction, const std::string& id,
                         std::size_t bytes) const override {
    return postgres::Connection(testing::Innermost(transaction))
        .Execute(
            "INSERT INTO effects(id, body) VALUES($1, convert_to(repeat('x', $2::int), "
            "'UTF8'))",
            {std::string_view(id), static_cast<std::int64_t>(bytes)})
        .status();
  }

  std::vector<std::string> Dump(const std::string& path, DedupStore& /*open*/,
                                std::int64_t /*steps*/) const override {
    const PostgresPlace place = PlaceOf(path);
    std::vector<std::string> lines;
    for (const char* const sql : kRows) {
      const std::string query = absl::StrReplaceAll(sql, {{"@", place.schema}});
      for (const auto& row : RunSql(place.connection, query)) lines.push_back(row[0]);
    }
    std::sort(lines.begin(), lines.end());
    return lines;
  }

 private:
  const PostgresFault fault_;
};

}  // namespace

std::string WhyNoPostgres() {
  const bool is_there = std::getenv("ONCE_TEST_POSTGRES_TEMPLATE") != nullptr &&
                        std::getenv("ONCE_TEST_POSTGRES_PROGRAMS") != nullptr;
  return is_there ? "" : "it needs a PostgreSQL server's programs; ./dev campaign finds them";
}

PostgresPlace PlaceOf(const std::string& path) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(path, absl::MaxSplits('#', 1));
  return {.connection = parts.first, .schema = parts.second};
}

absl::StatusOr<std::shared_ptr<DedupStore>> OpenPostgresPlace(const std::string& path,
                                                              absl::Duration hung_after) {
  const PostgresPlace place = PlaceOf(path);
  return postgres::OpenStore(
      {.connection = place.connection, .schema = place.schema, .hung_after = hung_after});
}

std::string MakePostgresPlace(const std::string& connection, const std::string& schema) {
  RunSql(connection,
         absl::StrReplaceAll(
             "CREATE SCHEMA @_effects; CREATE TABLE @_effects.effects(id text, body bytea);"
             "CREATE TABLE @_effects.booked(number bigserial PRIMARY KEY, id text, part "
             "int4, offs int8, value int8);"
             "CREATE TABLE @_effects.totals(part int4 PRIMARY KEY, count int8, low int8, "
             "high int8)",
             {{"@", schema}}));
  return absl::StrCat(connection, " options='-c search_path=", schema, "_effects'#", schema);
}

std::shared_ptr<DedupStore> Spoil(PostgresFault fault, std::shared_ptr<DedupStore> store) {
  switch (fault) {
    case PostgresFault::kNone:
      return store;
    case PostgresFault::kUnsynced:
      return std::make_shared<WrongCommits<UnsyncedTransaction>>(std::move(store));
    case PostgresFault::kKnowing:
      return std::make_shared<WrongCommits<KnowingTransaction>>(std::move(store));
    case PostgresFault::kForgetful:
      return std::make_shared<testing::ClaimsOf<ForgetfulClaims>>(store);
  }
  return store;
}

const StoreKind& PostgresKind(PostgresFault fault) {
  static const auto* const kinds = new std::array<Postgres, 4>{
      Postgres(PostgresFault::kNone), Postgres(PostgresFault::kUnsynced),
      Postgres(PostgresFault::kKnowing), Postgres(PostgresFault::kForgetful)};
  return (*kinds)[static_cast<std::size_t>(fault)];
}

}  // namespace once::campaign
