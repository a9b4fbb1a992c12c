// A StoreWriter changes a store by numbered steps: transactions with ids, effects, a
// position and outbox rows; claims, one call a step; syncs; and now and then it closes the store
// and opens it again. What a step does is a pure function of the seed and its number, so that two
// stores that have taken the same steps hold the same rows. DumpStore() shows those rows.
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "once/dedup_store.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/store_kind.h"

namespace once::campaign {

// Steps come in blocks: the claims of one are settled, or abandoned, before the next.
inline constexpr std::int64_t kStepsPerBlock = 16;

class StoreWriter {
 public:
  StoreWriter(std::string path, std::uint64_t seed, const StoreKind& kind = SqliteKind());

  // Opens the store and takes its row: durable when it is OK, with everything before it.
  absl::Status Open();
  void Close() { store_ = nullptr; }
  // REQUIRES: it is open.
  DedupStore& store() { return *store_; }

  // REQUIRES: it is open, and every step of the block before `step` was done by this writer. A step
  // that has failed may be done again, after TakeRow().
  absl::Status Do(std::int64_t step);
  // What the engine does before it goes on after a commit whose outcome nobody knows.
  absl::Status TakeRow();
  // Of the claims, outside any step. REQUIRES: it is open.
  absl::Status Sync() { return store_->claims()->Sync(); }

  // Once the step is OK, it and all before it survive a power failure. Below kFull none does.
  bool IsDurable(std::int64_t step) const;
  // The step closes the store and opens it again.
  bool IsReopening(std::int64_t step) const;
  // The step records something of claims that waits for a Sync(), whatever was before it.
  bool IsClaimWord(std::int64_t step) const;
  // For people.
  std::string Describe(std::int64_t step) const;

  // All ids that the first `steps` steps may have written.
  static std::vector<std::string> IdsOf(std::int64_t steps);
  // StoreKind::Dump() of the store, which is open.
  std::vector<std::string> Dump(std::int64_t steps) { return kind_.Dump(path_, *store_, steps); }

 private:
  struct HeldClaim {
    std::string id;
    Fence fence;
  };

  absl::Status OpenAlone();
  Dice DiceOf(std::int64_t step) const;
  bool IsTransaction(std::int64_t step) const;
  Durability DurabilityOf(std::int64_t step) const;
  absl::Status Transact(std::int64_t step);
  absl::Status Fill(StoreTransaction& transaction, std::int64_t step) const;
  absl::Status ClaimBlock(std::int64_t block);
  absl::Status TakeOverBlock(std::int64_t block);
  absl::Status SyncAll(std::int64_t step);
  absl::Status Settle(std::int64_t phase);
  absl::Status MarkOldest();

  const std::string path_;
  const std::uint64_t seed_;
  const StoreKind& kind_;
  std::shared_ptr<DedupStore> store_;
  PositionStamp stamp_;
  std::int64_t claimed_block_ = -1;
  std::vector<HeldClaim> claims_;
};

// All rows of all tables, in order, without what differs between stores that took the same steps:
// names of stores, openings, writers and owners. What is wrong with the file comes instead.
// Of SQLite.
std::vector<std::string> DumpStore(const std::string& path);

// Likewise of any store, as far as the contract shows it; without effects.
std::vector<std::string> DumpThroughContract(DedupStore& store, std::int64_t steps);

// The first lines in which they differ, for people.
std::string DescribeDifference(const std::vector<std::string>& expected,
                               const std::vector<std::string>& found);

// How many lines that begin with `prefix` are in `expected` and not in `found`; each as often as it
// is there.
std::int64_t CountMissing(std::vector<std::string> expected, std::vector<std::string> found,
                          std::string_view prefix);

}  // namespace once::campaign
