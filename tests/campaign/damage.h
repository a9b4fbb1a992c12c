// What campaigns share that damage the files of a store nobody has open, and then ask it: the
// damage, the questions, and a process apart in which a store may crash or hang.
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "once/dedup_store.h"
#include "tests/campaign/disk.h"
#include "tests/campaign/store_kind.h"

namespace once::campaign {

std::string ReadFile(const std::string& path);
void WriteFile(const std::string& path, const std::string& content);

struct Damage {
  std::string what;  // for people
  // Places of single bytes; empty: whole pages, sectors or the end.
  std::vector<std::int64_t> flips = {};
};

// Cuts, zeroes, overwrites, fills with noise or flips. REQUIRES: `content` is not empty.
Damage DamageFile(std::string& content, Dice& dice);

// Everything a store answers about what it has recorded, by question; and how often it answers
// with an error instead.
struct Answers {
  std::map<std::string, std::string> lines;
  std::int64_t errors = 0;
};

// About `ids`, the position and the letters of a store that a StoreWriter has written.
Answers AskForAll(DedupStore& store, const std::vector<std::string>& ids);

// The questions whose answers are not what they should be, without an error.
std::vector<std::string> FindWrong(const Answers& right, const Answers& found);

// The store has forgotten everything, and says nothing of it.
bool IsEmpty(const Answers& found);

// As far as the store lets it: opens it, and takes the steps of a block that begins with `step`.
void WorkWith(const std::string& path, const StoreKind& kind, std::uint64_t seed,
              std::int64_t step);

// In a process of its own, for a minute at most: whatever happens there is seen from here. Its wait
// status; the exit code is what `judge` returns.
int RunApart(const std::function<int()>& judge);

}  // namespace once::campaign
