// Random walks through the claim protocol, an operator's words among it, over Redis and the
// in-memory store at once: the scripts are a second telling of the same rules, and both must answer
// every word the same, and show the same to operators. A check of the store finds nothing wrong.
#include <map>
#include <random>

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "adapters/redis/tests/redis_server.h"
#include "once/memory/store.h"
#include "once/redis/store.h"

namespace once::redis {
namespace {

constexpr int kWalks = 12;
constexpr int kSteps = 250;
constexpr int kStepsPerCheck = 5;
constexpr int kIds = 3;
constexpr int kOwners = 3;
constexpr absl::Duration kLease = absl::Seconds(10);
constexpr absl::Duration kLongLease = absl::Hours(10);
constexpr absl::Duration kDelay = absl::Seconds(15);
constexpr absl::Duration kAdvance = absl::Seconds(20);

// What one store said: to be compared as text. How long a wait still is differs by what the walk
// takes.
std::string Show(const absl::Status& call, const absl::Status& outcome) {
  return absl::StrCat(static_cast<int>(call.code()), " ", static_cast<int>(outcome.code()));
}

std::string Show(const absl::Status& call, const ClaimResult& result) {
  const bool is_granted = result.verdict == ClaimVerdict::kFresh ||
                          result.verdict == ClaimVerdict::kTakeover ||
                          result.verdict == ClaimVerdict::kPublish;
  std::string text = absl::StrCat(static_cast<int>(call.code()), " verdict ",
                                  static_cast<int>(result.verdict), " result ", result.result);
  if (is_granted) {
    absl::StrAppend(&text, " attempt ", result.attempt, " failed at ",
                    absl::FormatTime(result.first_failed_at), " disposition ",
                    static_cast<int>(result.disposition));
  }
  return text;
}

// Likewise; when an attempt is due is a matter of the clock.
std::string Show(const absl::StatusOr<std::vector<StoreOperations::FoundId>>& found) {
  if (!found.ok()) return found.status().ToString();
  std::string text;
  for (const auto& [scope, record] : *found) {
    absl::StrAppend(&text, scope, " ", std::string(ToString(record.state)), " attempt ",
                    record.attempt, " print ", record.fingerprint.high, " failed at ",
                    absl::FormatTime(record.first_failed_at), "; ");
  }
  return text;
}

// Ids by state: as they are counted, and as they are found one by one. What is absent is no id.
std::map<std::string, std::int64_t> Counted(StoreMaintenance& maintenance) {
  std::map<std::string, std::int64_t> counts;
  const auto figures = maintenance.ReadFigures();
  EXPECT_TRUE(figures.ok()) << figures.status();
  for (const StoreFigure& figure : figures.value_or(std::vector<StoreFigure>())) {
    const std::size_t end = figure.name.find("_ids_count");
    if (end != std::string::npos && figure.value != 0) {
      counts[figure.name.substr(0, end)] = figure.value;
    }
  }
  return counts;
}

std::map<std::string, std::int64_t> Found(StoreOperations& operations) {
  std::map<std::string, std::int64_t> counts;
  for (int id = 0; id < kIds; ++id) {
    const auto found = operations.FindId(absl::StrCat(id));
    EXPECT_TRUE(found.ok()) << found.status();
    for (const auto& each : found.value_or(std::vector<StoreOperations::FoundId>())) {
      ++counts[std::string(ToString(each.record.state))];
    }
  }
  return counts;
}

// One of the two stores, and the fences that its owners hold.
struct Side {
  ClaimStore& claims;
  StoreOperations& operations;
  std::vector<Fence> fences = std::vector<Fence>(kIds * kOwners);

  Fence& FenceOf(int id, int owner) {
    return fences[static_cast<std::size_t>(id * kOwners + owner)];
  }
};

// A step, drawn once and taken by both.
struct Step {
  int word = 0;
  int id = 0;
  int owner = 0;
  int variant = 0;

  std::string Take(Side& side) const {
    const std::string name = absl::StrCat(id);
    const Claim claim{.key = {.scope = "walk", .id = name}, .fence = side.FenceOf(id, owner)};
    const absl::Duration lease = variant % 2 == 0 ? kLease : kLongLease;
    absl::Status outcome;
    const std::span<absl::Status> outcomes(&outcome, 1);
    const std::span<const Claim> claims(&claim, 1);
    switch (word) {
      case 0:
      case 1:
        return Ask(side, name, lease);
      case 2:
        return Show(side.claims.Begun(claims, outcomes), outcome);
      case 3:
        return Show(side.claims.Renew(claims, lease, outcomes), outcome);
      case 4: {
        const CompletedClaim completed{.claim = claim, .result = variant < 4 ? "" : "paid"};
        return Show(side.claims.Complete({&completed, 1}, outcomes), outcome);
      }
      case 5:
      case 6: {
        const FailedClaim failed{
            .claim = claim,
            .delay = variant % 2 == 0 ? absl::ZeroDuration() : kDelay,
            .first_failed_at = variant % 3 == 0 ? absl::InfinitePast() : absl::FromUnixSeconds(id),
            .is_charged = variant < 6};
        return Show(side.claims.Fail({&failed, 1}, outcomes), outcome);
      }
      case 7: {
        const DyingClaim dying{.claim = claim,
                               .disposition = static_cast<Disposition>(variant % 8),
                               .attempt = variant};
        return Show(side.claims.Dying({&dying, 1}, outcomes), outcome);
      }
      case 8:
        return Show(side.claims.Kill(claims, outcomes), outcome);
      case 9:
        return variant == 0 ? Show(side.claims.Discard(claims, outcomes), outcome) : "";
      case 10:
        return Show(side.claims.Release(claims, outcomes), outcome);
      default: {
        const bool is_discard = variant < 2;
        if (variant > 4) return "";
        return Show(
            is_discard ? side.operations.Discard(claim.key) : side.operations.Resolve(claim.key),
            outcome);
      }
    }
  }

  // With a new fence, or once more with the one there is.
  std::string Ask(Side& side, const std::string& name, absl::Duration lease) const {
    Fence& fence = side.FenceOf(id, owner);
    if (fence == Fence{} || word == 0) fence = side.claims.NewFence();
    const Fingerprint print = variant < 6 ? Fingerprint{1, 2} : Fingerprint{3, 4};
    const ClaimRequest request{.key = {.scope = "walk", .id = name},
                               .fingerprint = variant == 5 ? Fingerprint{} : print,
                               .fence = fence};
    ClaimResult result;
    return Show(side.claims.TryClaim({&request, 1}, lease, {&result, 1}), result);
  }
};

void Walk(std::uint32_t seed) {
  absl::Duration passed;
  const auto redis = OpenStore({.url = testing::SharedServer().url(),
                                .key_prefix = testing::NewPrefix(),
                                .clock_skew = [&passed] { return passed; }});
  ASSERT_TRUE(redis.ok()) << redis.status();
  const auto memory = memory::OpenStore(
      {.now = [&passed] { return absl::FromUnixSeconds(1'700'000'000) + passed; }});
  Side left{*(*redis)->claims(), *(*redis)->operations()};
  Side right{*memory->claims(), *memory->operations()};
  std::mt19937 random(seed);
  const auto below = [&random](int bound) {
    return static_cast<int>(random() % static_cast<unsigned>(bound));
  };
  for (int i = 0; i < kSteps; ++i) {
    if (below(8) == 0) passed += kAdvance;
    // Owners that have never asked have no fence to speak with.
    const Step step{
        .word = below(12), .id = below(kIds), .owner = below(kOwners), .variant = below(8)};
    const std::string said = step.Take(left);
    ASSERT_EQ(said, step.Take(right)) << "seed " << seed << ", step " << i << ": word " << step.word
                                      << " of id " << step.id << ", variant " << step.variant;
    const std::string name = absl::StrCat(step.id);
    ASSERT_EQ(Show(left.operations.FindId(name)), Show(right.operations.FindId(name)))
        << "seed " << seed << ", after step " << i << ": word " << step.word;
    if (i % kStepsPerCheck != 0) continue;
    ASSERT_EQ(Counted(*(*redis)->maintenance()), Found(left.operations))
        << "seed " << seed << ", after step " << i;
    const auto findings = (*redis)->maintenance()->Verify({});
    ASSERT_TRUE(findings.ok()) << findings.status();
    ASSERT_THAT(*findings, ::testing::IsEmpty()) << "seed " << seed << ", after step " << i;
  }
}

TEST(RedisWalk, TheScriptsAnswerEveryWordAsTheMemoryStoreDoes) {
  for (std::uint32_t seed = 1; seed <= kWalks; ++seed) {
    Walk(seed);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace once::redis
