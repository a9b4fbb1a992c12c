// The steps.
#include "tests/campaign/store_writer.h"

#include <array>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"

namespace once::campaign {
namespace {

// The place of a step in its block.
enum Phase : std::int64_t {
  kClaim = 1,
  kTakeOver = 3,
  kBegin = 4,
  kComplete = 6,
  kFail = 7,
  kBury = 8,
  kSyncClaims = 9,
  kKill = 10,
  kRelease = 11,
  kReopen = 13,  // right after a transaction that may not be synced yet
  kPublish = 14,
  kCommitNothing = 15,
};

constexpr int kClaimsPerBlock = 4;
constexpr int kIdsMax = 6;
// Larger than the page cache of these stores: such a transaction spills into the -wal early.
constexpr std::size_t kLargeEffectBytes = 60'000;

PartitionKey Partition() {
  return {.cluster = "cluster", .group = "group", .partition = {"orders", 0}};
}

std::string ClaimedId(std::int64_t block, int place) {
  return absl::StrCat("claimed-", block, "-", place);
}

OutboxRow Letter(std::int64_t number, const std::string& id) {
  return {.origin = {.key = Partition(), .offset = number, .scope = "scope"},
          .message = {.topic = "letters", .key = id, .value = std::string(100, 'v')},
          .scope = "scope",
          .id = id};
}

// OK when the call is, and what it says of the claim.
absl::Status Both(const absl::Status& call, const absl::Status& outcome) {
  return call.ok() ? outcome : call;
}

}  // namespace

StoreWriter::StoreWriter(std::string path, std::uint64_t seed, const StoreKind& kind)
    : path_(std::move(path)), seed_(seed), kind_(kind) {}

std::vector<std::string> StoreWriter::IdsOf(std::int64_t steps) {
  std::vector<std::string> ids;
  for (std::int64_t step = 0; step < steps; ++step) {
    for (int i = 0; i < kIdsMax; ++i) ids.push_back(absl::StrCat("id-", step, "-", i));
    ids.push_back(absl::StrCat("id-", step, "-letter"));
  }
  for (std::int64_t block = 0; block * kStepsPerBlock < steps; ++block) {
    for (int i = 0; i < kClaimsPerBlock; ++i) ids.push_back(ClaimedId(block, i));
  }
  return ids;
}

absl::Status StoreWriter::Open() {
  const absl::Status opened = OpenAlone();
  return opened.ok() ? TakeRow() : opened;
}

absl::Status StoreWriter::OpenAlone() {
  store_ = nullptr;
  auto store = kind_.Open(path_, seed_);
  if (!store.ok()) return store.status();
  store_ = *std::move(store);
  return absl::OkStatus();
}

absl::Status StoreWriter::TakeRow() {
  if (store_ == nullptr) return absl::FailedPreconditionError("it is not open");
  const TakeRequest request{.key = Partition(), .writer = Dice(seed_).Next()};
  const auto taken = store_->transactions()->Take({&request, 1});
  if (!taken.ok()) return taken.status();
  stamp_ = taken->front().current;
  return absl::OkStatus();
}

Dice StoreWriter::DiceOf(std::int64_t step) const {
  return Dice(Dice(seed_).Next() ^ static_cast<std::uint64_t>(step));
}

bool StoreWriter::IsTransaction(std::int64_t step) const {
  switch (step % kStepsPerBlock) {
    case 0:
    case 2:
    case 5:
    case 12:
      return true;
    case kReopen:
      return DiceOf(step / kStepsPerBlock).OneIn(2);
    default:
      return false;
  }
}

Durability StoreWriter::DurabilityOf(std::int64_t step) const {
  return DiceOf(step).OneIn(3) ? Durability::kMachine : Durability::kProcess;
}

bool StoreWriter::IsDurable(std::int64_t step) const {
  if (!kind_.is_synced()) return false;
  if (IsTransaction(step)) return DurabilityOf(step) == Durability::kMachine;
  const std::int64_t phase = step % kStepsPerBlock;
  return phase == kSyncClaims || phase == kPublish || phase == kCommitNothing || phase == kReopen;
}

bool StoreWriter::IsReopening(std::int64_t step) const {
  return !IsTransaction(step) && step % kStepsPerBlock == kReopen;
}

bool StoreWriter::IsClaimWord(std::int64_t step) const {
  switch (step % kStepsPerBlock) {
    case kClaim:
    case kBegin:
    case kComplete:
    case kFail:
    case kBury:
    case kKill:
    case kRelease:
      return true;
    default:
      return false;
  }
}

std::string StoreWriter::Describe(std::int64_t step) const {
  static constexpr std::array<const char*, kStepsPerBlock> kNames = {
      "transaction", "claim",  "transaction", "take over", "begun", "transaction",
      "complete",    "fail",   "dying",       "sync",      "kill",  "release",
      "transaction", "reopen", "mark letter", "sync all"};
  const char* name = IsTransaction(step) ? "transaction" : kNames[step % kStepsPerBlock];
  return absl::StrCat("step ", step, " (", name, IsDurable(step) ? ", durable" : "", ")");
}

absl::Status StoreWriter::Do(std::int64_t step) {
  if (IsTransaction(step)) return Transact(step);
  const std::int64_t block = step / kStepsPerBlock;
  switch (const std::int64_t phase = step % kStepsPerBlock; phase) {
    case kClaim:
      return ClaimBlock(block);
    case kTakeOver:
      return block > 0 ? TakeOverBlock(block - 1) : absl::OkStatus();
    case kSyncClaims:
      return SyncAll(step);
    case kPublish:
      return MarkOldest();
    case kCommitNothing: {
      auto begun = store_->transactions()->Begin({});
      return begun.ok() ? begun->transaction->Commit(Durability::kMachine) : begun.status();
    }
    case kReopen: {
      const absl::Status opened = OpenAlone();
      return opened.ok() ? store_->claims()->Sync() : opened;
    }
    default:
      return Settle(phase);
  }
}

// In one of the two ways that there are; the other is used beside a transaction.
absl::Status StoreWriter::SyncAll(std::int64_t step) {
  TransactionalStore& transactions = *store_->transactions();
  if (!transactions.syncs_beside() || DiceOf(step).OneIn(2)) return store_->claims()->Sync();
  const auto begun = transactions.Begin({});
  if (!begun.ok()) return begun.status();
  absl::Status synced = transactions.Sync();
  begun->transaction->Rollback();
  return synced;
}

absl::Status StoreWriter::Transact(std::int64_t step) {
  const PositionLock lock{.key = Partition(), .expected = stamp_};
  auto begun = store_->transactions()->Begin({&lock, 1});
  if (!begun.ok()) return begun.status();
  if (begun->transaction == nullptr) return absl::InternalError("the row is not as it was left");
  if (absl::Status filled = Fill(*begun->transaction, step); !filled.ok()) return filled;
  absl::Status committed = begun->transaction->Commit(DurabilityOf(step));
  if (committed.ok()) ++stamp_.revision;
  if (committed.ok()) stamp_.position = step + 1;
  return committed;
}

absl::Status StoreWriter::Fill(StoreTransaction& transaction, std::int64_t step) const {
  Dice dice = DiceOf(step);
  const std::int64_t ids = 1 + dice.Below(kIdsMax);
  const bool is_large = dice.OneIn(16);
  const bool has_letter = step % kStepsPerBlock == 12 || dice.OneIn(4);
  for (std::int64_t i = 0; i < ids; ++i) {
    const std::string id = absl::StrCat("id-", step, "-", i);
    const IdWrite write{
        .key = {"scope", id},
        .record = {.state = IdState::kCompleted,
                   .fingerprint = {.high = dice.Next(), .low = static_cast<std::uint64_t>(step)}}};
    const std::size_t bytes = is_large ? kLargeEffectBytes : 20;
    if (absl::Status added = kind_.AddEffect(transaction, id, bytes); !added.ok()) return added;
    if (absl::Status put = transaction.PutIds({&write, 1}); !put.ok()) return put;
  }
  if (has_letter) {
    const OutboxRow row = Letter(step, absl::StrCat("id-", step, "-letter"));
    if (absl::Status put = transaction.PutOutgoing({&row, 1}); !put.ok()) return put;
  }
  const PositionUpdate update{.key = Partition(), .position = step + 1, .reach = step + 1};
  return transaction.SetPositions({&update, 1});
}

absl::Status StoreWriter::ClaimBlock(std::int64_t block) {
  if (claimed_block_ != block) {
    claims_.clear();
    for (int i = 0; i < kClaimsPerBlock; ++i) {
      claims_.push_back({.id = ClaimedId(block, i), .fence = store_->claims()->NewFence()});
    }
    claimed_block_ = block;
  }
  std::vector<ClaimRequest> requests;
  for (const HeldClaim& claim : claims_) {
    requests.push_back({.key = {"scope", claim.id}, .fingerprint = {1, 2}, .fence = claim.fence});
  }
  std::vector<ClaimResult> results(requests.size());
  return store_->claims()->TryClaim(requests, absl::Hours(1), results);
}

absl::Status StoreWriter::TakeOverBlock(std::int64_t block) {
  std::array<std::string, kClaimsPerBlock> ids;
  std::array<ClaimRequest, kClaimsPerBlock> requests;
  std::array<ClaimResult, kClaimsPerBlock> results;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ids[i] = ClaimedId(block, static_cast<int>(i));
    requests[i] = {
        .key = {"scope", ids[i]}, .fingerprint = {1, 2}, .fence = store_->claims()->NewFence()};
  }
  return store_->claims()->TryClaim(requests, absl::Hours(1), results);
}

absl::Status StoreWriter::Settle(std::int64_t phase) {
  ClaimStore& claims = *store_->claims();
  std::array<Claim, kClaimsPerBlock> all;
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i] = {.key = {"scope", claims_[i].id}, .fence = claims_[i].fence};
  }
  absl::Status outcome;
  if (phase == kBegin) {
    std::array<absl::Status, 3> outcomes;
    const absl::Status begun = claims.Begun(std::span(all).first<3>(), outcomes);
    return Both(Both(begun, outcomes[0]), Both(outcomes[1], outcomes[2]));
  }
  if (phase == kComplete) {
    const CompletedClaim completed{.claim = all[0], .result = "the result"};
    return Both(claims.Complete({&completed, 1}, {&outcome, 1}), outcome);
  }
  if (phase == kFail) {
    const FailedClaim failed{
        .claim = all[1], .delay = absl::Minutes(1), .first_failed_at = StandingClock()};
    return Both(claims.Fail({&failed, 1}, {&outcome, 1}), outcome);
  }
  if (phase == kBury) {
    const OutboxRow letter = Letter(1'000'000 + claimed_block_, claims_[2].id);
    const DyingClaim dying{.claim = all[2],
                           .disposition = Disposition::kRetriesExhausted,
                           .attempt = 1,
                           .letter = &letter};
    return Both(claims.Dying({&dying, 1}, {&outcome, 1}), outcome);
  }
  if (phase == kKill) return Both(claims.Kill({&all[2], 1}, {&outcome, 1}), outcome);
  return Both(claims.Release({&all[3], 1}, {&outcome, 1}), outcome);
}

absl::Status StoreWriter::MarkOldest() {
  Outbox& outbox = store_->transactions()->outbox();
  const auto pending = outbox.FindPending(1);
  if (!pending.ok()) return pending.status();
  const std::int64_t sequence = pending->empty() ? 0 : pending->front().sequence;
  return outbox.MarkPublished({&sequence, 1});
}

}  // namespace once::campaign
