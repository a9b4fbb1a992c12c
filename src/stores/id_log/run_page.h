// A page of a sorted run: ids in order, those of one scope, form and width behind one another, so
// that one of them is found by halving. A page ends with a checksum that its run and number are
// part of.
// Private to src/stores. Thread-safety: values.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "src/stores/id_log/segment_codec.h"

namespace once::stores {

inline constexpr std::size_t kPageBytesMin = 256;
inline constexpr std::size_t kPageBytesMax = 64 * 1024;

// Where a page is.
struct PageAddress {
  std::uint32_t run = 0;
  std::uint32_t page = 0;

  std::uint64_t seed() const { return std::uint64_t{run} << 32 | page; }
};

absl::Status DamagedPage(const PageAddress& address, std::string_view what);

// A key as runs order it: by the number of its scope in the run, form, width, bytes.
struct RunKey {
  std::uint32_t scope = 0;
  IdForm form = IdForm::kRaw;
  std::string_view id;  // packed

  friend std::strong_ordering operator<=>(const RunKey& a, const RunKey& b) {
    if (const auto order = a.scope <=> b.scope; order != 0) return order;
    if (const auto order = a.form <=> b.form; order != 0) return order;
    if (const auto order = a.id.size() <=> b.id.size(); order != 0) return order;
    return a.id <=> b.id;
  }
  friend bool operator==(const RunKey&, const RunKey&) = default;
};

struct RunEntry {
  RunKey key;
  Fingerprint fingerprint;
  std::uint16_t attempt = 0;
};

class PageWriter {
 public:
  // REQUIRES: bytes_max in [kPageBytesMin, kPageBytesMax].
  explicit PageWriter(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  // False when it does not fit: Finish() this page first. REQUIRES: keys ascend.
  bool Add(const RunEntry& entry);
  bool empty() const { return groups_.empty(); }
  // The page. The writer begins a new one. REQUIRES: !empty().
  std::string Finish(const PageAddress& address);

 private:
  struct Group {
    std::size_t BytesWith(const RunEntry* more) const;

    std::uint32_t scope = 0;
    IdForm form = IdForm::kRaw;
    std::uint8_t width = 0;
    bool has_prints = false;
    bool is_one_attempt = true;
    std::string ids;
    std::vector<Fingerprint> prints;
    std::vector<std::uint16_t> attempts;
  };

  std::size_t bytes_max_;
  std::size_t bytes_before_ = 0;  // of all groups but the last
  std::vector<Group> groups_;
};

class RunPage {
 public:
  // Takes the bytes over. kDataLoss for anything but what PageWriter writes for this address.
  static absl::StatusOr<RunPage> Read(const PageAddress& address, std::string bytes);
  // The same, but what has its checksum is believed to be in order: for one look-up, which a look
  // at every id would make many times as long.
  static absl::StatusOr<RunPage> Open(const PageAddress& address, std::string bytes);

  std::optional<RunEntry> Find(const RunKey& key) const;
  // In order. The views are valid as long as the page.
  void ForEach(absl::FunctionRef<void(const RunEntry&)> visit) const;
  std::size_t size() const { return size_; }
  RunEntry at(std::size_t index) const;

 private:
  // Positions in bytes_, which may move with the page.
  struct Group {
    std::uint32_t scope = 0;
    IdForm form = IdForm::kRaw;
    std::uint8_t width = 0;
    bool has_prints = false;
    bool is_one_attempt = true;
    std::uint16_t size = 0;
    std::size_t attempts = 0;
    std::size_t ids = 0;
    std::size_t prints = 0;
  };
  RunEntry EntryOf(const Group& group, std::size_t at) const;
  bool IsInOrder() const;

  std::string bytes_;
  std::size_t size_ = 0;
  std::vector<Group> groups_;
};

// A long text over as many pages as it takes, and back.
std::vector<std::string> CutIntoPages(std::string_view text, PageAddress first,
                                      std::size_t bytes_max);
// Appends what the page holds.
absl::Status AppendPage(const PageAddress& address, std::string_view bytes, std::string& text);

}  // namespace once::stores
