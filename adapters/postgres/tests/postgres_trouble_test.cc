// The public suite of troubles over a private server: connections that are cut at a commit, before
// and after the server has heard of it, writes that are answered as by a server without space, and
// a machine that loses its power.
#include "once/testing/trouble_conformance.h"

#include <atomic>

#include "absl/strings/str_replace.h"
#include "adapters/postgres/tests/store_scene.h"
#include "adapters/postgres/tests/wire_proxy.h"

namespace once::postgres {
namespace {

using testing::Cut;
using testing::WireProxy;

// Every write is refused as a full disk refuses it, while the table `disk` says so.
constexpr char kRefusals[] = R"sql(
  CREATE TABLE @_handler.disk AS SELECT false AS is_full;
  CREATE FUNCTION @_handler.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF (SELECT is_full FROM @_handler.disk) THEN
        RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full';
      END IF;
      RETURN NULL;
    END $$;
  DO $$
    DECLARE one regclass;
    BEGIN
      FOR one IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relname <> 'disk'
                 AND relnamespace IN ('@'::regnamespace, '@_handler'::regnamespace)
      LOOP
        EXECUTE format('CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON %s '
                       'FOR EACH STATEMENT EXECUTE FUNCTION @_handler.refuse()', one);
      END LOOP;
    END $$;
)sql";

class TroubledFixture final : public once::testing::TroubleFixture {
 public:
  TroubledFixture() {
    EXPECT_TRUE(Open().ok());
    RunSql(server_.connection(), absl::StrReplaceAll(kRefusals, {{"@", schema_.name()}}));
  }

  DedupStore& store() override { return *store_; }
  absl::Status AppendEffect(Transaction& transaction, std::string_view row) override {
    return AddEffect(transaction, schema_, row);
  }
  absl::StatusOr<std::vector<std::string>> ReadEffects() override {
    return postgres::ReadEffects(server_.connection(), schema_);
  }
  absl::Status AdvanceClock(absl::Duration duration) override {
    *skew_micros_ += absl::ToInt64Microseconds(duration);
    return absl::OkStatus();
  }
  absl::Status Crash() override {
    schema_.EndSessions();
    return OpenAnew();
  }
  absl::Status LosePower() override {
    server_.LosePower();
    server_.Start();
    return OpenAnew();
  }

  void FillUp() override { SetFull(true); }
  bool BreakNextWrite(int way) override {
    static constexpr Cut kCuts[] = {Cut::kBeforeCommit, Cut::kAfterCommit, Cut::kByServerAtCommit};
    if (static_cast<std::size_t>(way) >= std::size(kCuts)) return false;
    proxy_.Arm(kCuts[way]);
    return true;
  }
  void EndTrouble() override {
    proxy_.Arm(Cut::kNone);
    SetFull(false);
  }

 private:
  absl::Status OpenAnew() {
    before_.push_back(std::move(store_));
    return Open();
  }
  absl::Status Open() {
    StoreOptions options = OptionsFor(
        absl::StrCat("host=", proxy_.folder(), " dbname=postgres user=once"), schema_.name());
    options.clock_skew = [skew = skew_micros_] { return absl::Microseconds(skew->load()); };
    auto store = OpenStore(std::move(options));
    if (!store.ok()) return store.status();
    store_ = *std::move(store);
    return absl::OkStatus();
  }
  void SetFull(bool is_full) {
    RunSql(server_.connection(),
           absl::StrCat("UPDATE ", schema_.name(),
                        "_handler.disk SET is_full = ", is_full ? "true" : "false"));
  }
  void EndTransactions() {
    RunSql(server_.connection(),
           "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name "
           "LIKE 'once:%' AND state LIKE 'idle in transaction%'");
  }

  const std::shared_ptr<std::atomic<std::int64_t>> skew_micros_ =
      std::make_shared<std::atomic<std::int64_t>>(0);
  // What is not flushed by a commit is not flushed by chance either.
  PrivateServer server_{"wal_writer_delay = 10s"};
  WireProxy proxy_{server_.socket_folder(), [this] { EndTransactions(); }};
  TestSchema schema_{server_.connection()};
  std::vector<std::shared_ptr<DedupStore>> before_;
  std::shared_ptr<DedupStore> store_;
};

once::testing::StoreUnderTest Troubled() {
  return {.name = "postgres", .make = [] { return std::make_unique<TroubledFixture>(); }};
}

INSTANTIATE_TEST_SUITE_P(Postgres, StoreTroubleConformance, ::testing::Values(Troubled()),
                         once::testing::TroubledStoreName);

}  // namespace
}  // namespace once::postgres
