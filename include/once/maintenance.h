// StoreMaintenance is what an operator asks of a store as a whole: its figures, whether every byte
// of it can be believed, its unused room back, a copy. The `once store` command works through it,
// on a closed store or through the process that has the store open.
//
// Thread-safety: safe for concurrent use, also beside running consumers.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace once {

// "file_bytes", "ids_count": the unit comes last.
struct StoreFigure {
  std::string name;
  std::int64_t value = 0;

  bool operator==(const StoreFigure&) const = default;
};

class StoreMaintenance {
 public:
  virtual ~StoreMaintenance() = default;

  // Each name once, always in the same order. Quick, unless it must count (Redis).
  virtual absl::StatusOr<std::vector<StoreFigure>> ReadFigures() = 0;

  // The others take the longer the larger the store is, and give up with kCancelled soon after a
  // stop is requested.

  // Reads all there is. What is damaged or contradicts itself, a line each; empty: nothing found.
  virtual absl::StatusOr<std::vector<std::string>> Verify(const std::stop_token& stop) = 0;
  // Gives unused room back. Consumers may have to wait meanwhile, and lose nothing by it.
  virtual absl::Status Compact(const std::stop_token& stop) = 0;
  // A store of its own at `path`, as this one was at one moment, synced. kAlreadyExists: something
  // is there. Nothing is left there after a failure.
  virtual absl::Status Backup(const std::string& path, const std::stop_token& stop) = 0;
};

}  // namespace once
