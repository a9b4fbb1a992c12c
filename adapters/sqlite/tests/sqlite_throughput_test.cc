// What a message costs under claims and what a synced transaction costs. Disabled: a measurement is
// no test. It prints messages per second and their ratio:
//
//   once_sqlite_test --gtest_also_run_disabled_tests --gtest_filter='*Throughput*'
//
// TMPDIR chooses the disk.
#include <chrono>
#include <iostream>

#include "adapters/sqlite/tests/store_scene.h"

namespace once::sqlite {
namespace {

class SqliteThroughput : public StoreScene {
 protected:
  static constexpr int kRounds = 4;
  static constexpr int kBatch = 500;

  void SetUp() override {
    MustOpen();
    for (int i = 0; i < kRounds * kBatch; ++i) ids_.push_back(absl::StrCat("message-", i));
  }

  // Messages per second.
  template <typename Work>
  static double Measure(int messages, Work work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    return messages / seconds.count();
  }

  void HandleBatch(std::span<const std::string> ids) {
    ClaimStore& claims = *store_->claims();
    std::vector<ClaimRequest> requests;
    for (const std::string& id : ids) {
      requests.push_back({.key = {"scope", id}, .fingerprint = {1, 2}, .fence = claims.NewFence()});
    }
    std::vector<ClaimResult> results(requests.size());
    ASSERT_TRUE(claims.TryClaim(requests, absl::Minutes(1), results).ok());
    for (std::size_t i = 0; i < requests.size(); ++i) {
      ASSERT_EQ(results[i].verdict, ClaimVerdict::kFresh);
      const Claim claim{.key = requests[i].key, .fence = requests[i].fence};
      const CompletedClaim completed{.claim = claim};
      absl::Status outcome;
      ASSERT_TRUE(claims.Begun({&claim, 1}, {&outcome, 1}).ok() && outcome.ok());
      ASSERT_TRUE(claims.Complete({&completed, 1}, {&outcome, 1}).ok() && outcome.ok());
    }
    ASSERT_TRUE(claims.Sync().ok());
  }

  std::vector<std::string> ids_;
};

TEST_F(SqliteThroughput, DISABLED_ClaimsBesideSyncedTransactions) {
  const int messages = kRounds * kBatch;
  const double claimed = Measure(messages, [&] {
    for (int round = 0; round < kRounds; ++round) {
      HandleBatch(std::span(ids_).subspan(static_cast<std::size_t>(round * kBatch), kBatch));
    }
  });
  const double synced = Measure(kBatch, [&] {
    for (int i = 0; i < kBatch; ++i) {
      const auto transaction = Begin();
      ASSERT_TRUE(Complete(*transaction, absl::StrCat("synced-", i)).ok());
      ASSERT_TRUE(transaction->Commit(Durability::kMachine).ok());
    }
  });
  std::cout << "on " << path() << ": TryClaim of " << kBatch
            << ", Begun and Complete singly, one Sync: " << claimed
            << " messages/s; one synced transaction per message: " << synced
            << " messages/s; ratio " << claimed / synced << "\n";
}

}  // namespace
}  // namespace once::sqlite
