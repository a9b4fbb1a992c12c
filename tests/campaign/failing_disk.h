// Every call of a disk fails once, and for a while, and for want of space, and in its syncs, under
// a Consumption, for every call there is; once the disk is well again everything must settle. And
// once more on a real file system that is too small, where mounting one is permitted.
// Thread-safety: none.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tests/campaign/campaign.h"
#include "tests/campaign/consumption.h"

namespace once::campaign {

// How the disk fails, from one of its calls on.
enum class FailingWork { kAll, kSyncs, kWrites };

struct Trouble {
  const char* name;
  FailingWork work;
  std::int64_t count;  // calls
  bool is_full;
};

// What lies under every store that is opened while it lives.
class FailingDisk {
 public:
  virtual ~FailingDisk() = default;
  // From the `first`-th call (from 1) on that the trouble can strike. REQUIRES: no store is open.
  virtual void Fail(const Trouble& trouble, std::int64_t first) = 0;
  virtual void Mend() = 0;
  // Since Fail(): calls that it could have struck, and those that it did.
  virtual std::int64_t calls() const = 0;
  virtual std::int64_t failures() const = 0;
};

// A file system with a large file in it that goes when it has been full for a while; what is
// consumed fits beside it no longer, and without it.
struct SmallFileSystem {
  const char* size;
  std::size_t ballast_bytes;
  Load load;
};

// `disk` lies under the stores of `kind`.
CampaignReport ConsumeOnFailingDisk(const ConsumedStore& kind, FailingDisk& disk,
                                    const SmallFileSystem& small, const CampaignOptions& options);

}  // namespace once::campaign
