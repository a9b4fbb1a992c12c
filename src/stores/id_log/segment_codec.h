// A segment is what one commit adds to the log: all ids that it completed, as one value. Ids that
// have form, width, attempts and scope in common share one description. A segment names its scopes
// itself, ends with a checksum that its number is part of, and is read whole or not at all.
// Private to src/stores. Thread-safety: none of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "once/message_id.h"
#include "src/stores/id_log/packed_id.h"

namespace once::stores {

// A completed id as it is stored.
struct StoredId {
  std::string_view scope;
  IdForm form = IdForm::kRaw;
  std::string_view id;  // packed
  Fingerprint fingerprint;
  std::uint16_t attempt = 0;
};

class SegmentWriter {
 public:
  // An id is added once. REQUIRES: id is a valid one.
  void Add(const IdKey& key, const Fingerprint& fingerprint, std::uint16_t attempt);
  std::size_t size() const { return size_; }
  // The segment. REQUIRES: size() > 0. The writer is used up.
  std::string Finish(std::uint64_t number, std::int64_t log_time_ms);

 private:
  struct GroupKey {
    std::string scope;
    IdForm form = IdForm::kRaw;
    std::uint8_t width = 0;
    bool has_print = false;
    std::uint16_t attempt = 0;

    friend auto operator<=>(const GroupKey&, const GroupKey&) = default;
  };
  struct Group {
    std::uint32_t size = 0;
    std::string ids;
    std::string prints;
  };

  std::map<GroupKey, Group> groups_;
  std::pair<const GroupKey, Group>* last_ = nullptr;
  std::size_t size_ = 0;
};

// Ids of a segment that have all this in common.
struct SegmentGroup {
  std::size_t size() const { return ids.size() / width; }
  std::string_view id(std::size_t at) const { return ids.substr(at * width, width); }
  StoredId operator[](std::size_t at) const;
  void Prefetch(std::size_t at) const;

  std::string_view scope;
  IdForm form = IdForm::kRaw;
  std::uint8_t width = 0;
  std::uint16_t attempt = 0;
  std::string_view ids;
  std::string_view prints;  // empty: none
};

class Segment {
 public:
  // Views into `bytes`. kDataLoss for anything but what SegmentWriter writes under this number.
  static absl::StatusOr<Segment> Read(std::uint64_t number, std::string_view bytes);

  std::uint64_t number() const { return number_; }
  std::int64_t log_time_ms() const { return log_time_ms_; }
  std::size_t size() const { return size_; }
  const std::vector<SegmentGroup>& groups() const { return groups_; }
  void ForEach(absl::FunctionRef<void(const StoredId&)> visit) const;

 private:
  std::uint64_t number_ = 0;
  std::int64_t log_time_ms_ = 0;
  std::size_t size_ = 0;
  std::vector<SegmentGroup> groups_;
};

}  // namespace once::stores
