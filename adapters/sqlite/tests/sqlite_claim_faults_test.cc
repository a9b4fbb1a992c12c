// Failing writes during calls on claims: each failure is reported, nothing is half applied, and the
// same call once more settles it.
#include "adapters/sqlite/tests/fault_vfs.h"
#include "adapters/sqlite/tests/ids_of_file.h"
#include "adapters/sqlite/tests/store_scene.h"

namespace once::sqlite {
namespace {

constexpr absl::Duration kLease = absl::Minutes(1);

// Calls on many claims at once, on what was prepared for them.
struct CallCase {
  const char* name;
  std::vector<void (*)(ClaimStore&, std::span<const Claim>)> before;  // after TryClaim
  absl::Status (*call)(ClaimStore&, std::span<const Claim>, std::span<absl::Status>);
};

OutboxRow Letter(const Claim& claim) {
  std::uint64_t sum = 0;
  for (const char byte : claim.key.id) sum = sum * 131 + static_cast<unsigned char>(byte);
  const auto offset = static_cast<std::int64_t>(sum >> 1U);  // not negative
  return {.origin = {.key = Orders(), .offset = offset},
          .message = {.topic = "orders.dlq", .value = std::string(50, 'x')},
          .scope = std::string(claim.key.scope),
          .id = std::string(claim.key.id)};
}

absl::Status Begin(ClaimStore& store, std::span<const Claim> claims,
                   std::span<absl::Status> outcomes) {
  return store.Begun(claims, outcomes);
}

absl::Status Complete(ClaimStore& store, std::span<const Claim> claims,
                      std::span<absl::Status> outcomes) {
  std::vector<CompletedClaim> completed;
  for (const Claim& claim : claims) completed.push_back({.claim = claim, .result = "result"});
  return store.Complete(completed, outcomes);
}

absl::Status Fail(ClaimStore& store, std::span<const Claim> claims,
                  std::span<absl::Status> outcomes) {
  std::vector<FailedClaim> failed;
  for (const Claim& claim : claims) {
    failed.push_back({.claim = claim,
                      .delay = absl::Seconds(5),
                      .first_failed_at = absl::FromUnixSeconds(1'700'000'000)});
  }
  return store.Fail(failed, outcomes);
}

absl::Status Condemn(ClaimStore& store, std::span<const Claim> claims,
                     std::span<absl::Status> outcomes) {
  std::vector<OutboxRow> letters;
  std::vector<DyingClaim> dying;
  for (const Claim& claim : claims) letters.push_back(Letter(claim));
  for (std::size_t i = 0; i < claims.size(); ++i) {
    dying.push_back({.claim = claims[i], .attempt = 3, .letter = &letters[i]});
  }
  return store.Dying(dying, outcomes);
}

template <auto call>
void MustDo(ClaimStore& store, std::span<const Claim> claims) {
  std::vector<absl::Status> outcomes(claims.size());
  const absl::Status done = call(store, claims, outcomes);
  EXPECT_TRUE(done.ok()) << done;
  for (const absl::Status& outcome : outcomes) EXPECT_TRUE(outcome.ok()) << outcome;
}

const CallCase kCalls[] = {
    {"Begun", {}, Begin},
    {"Renew",
     {},
     [](ClaimStore& store, std::span<const Claim> claims, std::span<absl::Status> outcomes) {
       return store.Renew(claims, absl::Hours(2), outcomes);
     }},
    {"Complete", {MustDo<Begin>}, Complete},
    {"Fail", {MustDo<Begin>}, Fail},
    {"Dying", {MustDo<Begin>}, Condemn},
    {"Kill",
     {MustDo<Begin>, MustDo<Condemn>},
     [](ClaimStore& store, std::span<const Claim> claims, std::span<absl::Status> outcomes) {
       return store.Kill(claims, outcomes);
     }},
    {"Discard",
     {},
     [](ClaimStore& store, std::span<const Claim> claims, std::span<absl::Status> outcomes) {
       return store.Discard(claims, outcomes);
     }},
    {"Release",
     {},
     [](ClaimStore& store, std::span<const Claim> claims, std::span<absl::Status> outcomes) {
       return store.Release(claims, outcomes);
     }},
};

class SqliteClaimFaults : public StoreScene,
                          public ::testing::WithParamInterface<std::tuple<std::size_t, Fault>> {
 protected:
  static constexpr int kClaims = 8;
  static constexpr int kOperationsMax = 200;

  void SetUp() override {
    StoreOptions options = OptionsFor(path());
    options.now = [] { return absl::FromUnixSeconds(1'700'000'000); };
    MustOpen(options);
  }

  ClaimStore& claims() { return *store_->claims(); }

  // Ids of a round and claims on them; the ids must outlive the claims.
  std::vector<std::string> Ids(int round) {
    std::vector<std::string> ids;
    for (int i = 0; i < kClaims; ++i) {
      ids.push_back(absl::StrCat("a rather long message id ", round, "-", i));
    }
    return ids;
  }
  std::vector<ClaimRequest> Requests(const std::vector<std::string>& ids) {
    std::vector<ClaimRequest> requests;
    for (const std::string& id : ids) {
      requests.push_back(
          {.key = {"scope", id}, .fingerprint = {1, 2}, .fence = claims().NewFence()});
    }
    return requests;
  }
  static std::vector<Claim> ClaimsOf(const std::vector<ClaimRequest>& requests) {
    std::vector<Claim> claims;
    for (const ClaimRequest& request : requests) {
      claims.push_back({.key = request.key, .fence = request.fence});
    }
    return claims;
  }

  // Everything that claims touch, as a reader of the file sees it.
  static std::vector<std::string> Dump(const std::string& file) {
    std::vector<std::string> rows;
    for (const IdOfFile& id : IdsOfFile(file)) rows.push_back(id.text());
    OwnConnection connection(file);
    for (const char* sql :
         {"SELECT name FROM once_scopes", "SELECT CAST(id AS TEXT), result FROM once_results",
          "SELECT sequence, CAST(id AS TEXT), state, length(payload) FROM once_outbox"}) {
      const SqlResult result = connection.Run(sql);
      EXPECT_EQ(result.code, SQLITE_OK) << result.error;
      rows.insert(rows.end(), result.rows.begin(), result.rows.end());
    }
    return rows;
  }
  std::vector<std::string> DumpAfterCrash() {
    const std::string copy = folder_.File(absl::StrCat("crash-", ++crashes_, ".db"));
    EXPECT_EQ(
        std::system(absl::StrCat("cp ", path(), " ", copy, " && cp ", path(), "-wal ", copy, "-wal")
                        .c_str()),
        0);
    return Dump(copy);
  }

  // `call` with the nth write failing, for every n until none is hit. `prepare` makes its claims.
  template <typename Prepare, typename Call>
  void FailEveryWrite(Prepare prepare, Call call) {
    int failures = 0;
    for (int nth = 1;; ++nth) {
      ASSERT_LT(nth, kOperationsMax);
      const std::vector<std::string> ids = Ids(nth);
      const std::vector<ClaimRequest> requests = Requests(ids);
      prepare(requests);
      const std::vector<std::string> before = Dump(path());
      vfs_.Arm(std::get<Fault>(GetParam()), "-wal", nth);
      const absl::Status called = call(requests);
      vfs_.Disarm();
      const std::vector<std::string> after_crash = DumpAfterCrash();
      const std::vector<std::string> seen = Dump(path());
      const bool has_fired = vfs_.has_fired();
      if (!called.ok()) {
        ++failures;
        EXPECT_TRUE(absl::IsUnknown(called) || absl::IsResourceExhausted(called) ||
                    absl::IsUnavailable(called))
            << called;
        EXPECT_EQ(seen, before) << nth << ": " << called;
        const absl::Status again = call(requests);
        ASSERT_TRUE(again.ok()) << again;
      }
      const std::vector<std::string> done = Dump(path());
      EXPECT_NE(done, before);
      if (called.ok()) {
        EXPECT_EQ(after_crash, done) << nth;
      } else if (absl::IsUnknown(called)) {
        EXPECT_TRUE(after_crash == before || after_crash == done) << nth;
      } else {
        EXPECT_EQ(after_crash, before) << nth << ": " << called;
      }
      EXPECT_EQ(DumpAfterCrash(), done);
      if (!has_fired) break;
    }
    EXPECT_GT(failures, 1) << "one write at least for a frame's header, one for its page";
  }

  FaultVfs vfs_;
  int crashes_ = 0;
};

TEST_P(SqliteClaimFaults, NothingOfACallIsHalfApplied) {
  const CallCase& tested = kCalls[std::get<std::size_t>(GetParam())];
  FailEveryWrite(
      [&](const std::vector<ClaimRequest>& requests) {
        std::vector<ClaimResult> results(requests.size());
        ASSERT_TRUE(claims().TryClaim(requests, kLease, results).ok());
        for (const auto& step : tested.before) step(claims(), ClaimsOf(requests));
      },
      [&](const std::vector<ClaimRequest>& requests) {
        std::vector<absl::Status> outcomes(requests.size(), absl::InternalError("not answered"));
        const absl::Status called = tested.call(claims(), ClaimsOf(requests), outcomes);
        for (const absl::Status& outcome : outcomes) {
          EXPECT_TRUE(outcome.ok() || !called.ok()) << outcome;
        }
        return called;
      });
}

using FaultOfCall = std::tuple<std::size_t, Fault>;

std::string FaultName(Fault fault) {
  switch (fault) {
    case Fault::kWriteError:
      return "WriteError";
    case Fault::kTornWrite:
      return "TornWrite";
    case Fault::kDiskFull:
      return "DiskFull";
    default:
      return "Other";
  }
}

std::string CallAndFault(const ::testing::TestParamInfo<FaultOfCall>& test) {
  return kCalls[std::get<0>(test.param)].name + FaultName(std::get<1>(test.param));
}

std::string FaultOnly(const ::testing::TestParamInfo<FaultOfCall>& test) {
  return FaultName(std::get<1>(test.param));
}

const auto kWriteFaults =
    ::testing::Values(Fault::kWriteError, Fault::kTornWrite, Fault::kDiskFull);

INSTANTIATE_TEST_SUITE_P(Calls, SqliteClaimFaults,
                         ::testing::Combine(::testing::Range(std::size_t{0}, std::size(kCalls)),
                                            kWriteFaults),
                         CallAndFault);

class SqliteTryClaimFaults : public SqliteClaimFaults {};

TEST_P(SqliteTryClaimFaults, ClaimsAreGrantedTogetherOrNotAtAll) {
  FailEveryWrite([](const std::vector<ClaimRequest>&) {},
                 [&](const std::vector<ClaimRequest>& requests) {
                   std::vector<ClaimResult> results(requests.size());
                   const absl::Status called = claims().TryClaim(requests, kLease, results);
                   for (const ClaimResult& result : results) {
                     EXPECT_TRUE(result.verdict == ClaimVerdict::kFresh || !called.ok());
                   }
                   return called;
                 });
}

INSTANTIATE_TEST_SUITE_P(TryClaim, SqliteTryClaimFaults,
                         ::testing::Combine(::testing::Values(std::size_t{0}), kWriteFaults),
                         FaultOnly);

}  // namespace
}  // namespace once::sqlite
