// RunEveryCrash over a real PostgreSQL server: each process connects anew, and each execution finds
// a store without rows.
#include "once/testing/crash_test.h"

#include "adapters/postgres/tests/store_scene.h"

namespace once::postgres {
namespace {

using ::once::testing::CrashReport;
using ::once::testing::CrashWorld;
using ::once::testing::RunEveryCrash;

TEST(PostgresCrash, AHandlerInTheTransactionSurvivesEveryCrash) {
  const std::string server = testing::SharedServer();
  const TestSchema schema(server);
  // It is the process that dies here, not the server.
  const StoreOptions options =
      OptionsFor(server + " options='-c synchronous_commit=off'", schema.name());
  ASSERT_TRUE(OpenStore(options).ok());
  const std::string empty = absl::StrCat("DELETE FROM ", schema.name(), ".positions; DELETE FROM ",
                                         schema.name(), ".known_ids; DELETE FROM ", schema.name(),
                                         ".outbox; DELETE FROM ", schema.effects());
  const CrashReport report =
      RunEveryCrash({.open_store = [&](const CrashWorld&) { return OpenStore(options); },
                     .reset =
                         [&](const CrashWorld&) {
                           RunSql(server, empty);
                           return absl::OkStatus();
                         },
                     .messages = {{.id = "a", .value = "1"}, {.id = "a", .value = "1"}},
                     // Without a unique key: what is applied twice shows.
                     .handler =
                         [&](const Message& message, Transaction& transaction) {
                           return AddEffect(transaction, schema, message.id());
                         },
                     .check = [&](const CrashWorld&) -> absl::Status {
                       const std::vector<std::string> effects = ReadEffects(server, schema);
                       if (effects == std::vector<std::string>{"a"}) return absl::OkStatus();
                       return absl::InternalError(absl::StrCat(effects.size(), " effects"));
                     },
                     .pairs_max = 0});
  EXPECT_TRUE(report.ok()) << report;
  EXPECT_GT(report.singles, 30);
}

}  // namespace
}  // namespace once::postgres
