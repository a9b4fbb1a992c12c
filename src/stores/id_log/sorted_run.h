// A SortedRun answers for ids that were sealed: a filter in memory says which it may hold, an index
// in memory says on which page, and the page says whether. No answer but "certainly not" is given
// without the bytes of the id.
// Private to src/stores. Thread-safety: safe for concurrent use.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "src/stores/id_log/block_filter.h"
#include "src/stores/id_log/id_query.h"
#include "src/stores/id_log/manifest.h"
#include "src/stores/id_log/run_page.h"
#include "src/stores/id_log/segment_storage.h"

namespace once::stores {

class SortedRun {
 public:
  // Reads index and filter. kDataLoss when they are not what was written.
  static absl::StatusOr<std::shared_ptr<const SortedRun>> Open(const RunInfo& info,
                                                               SegmentStorage& storage);

  // Answers what it holds; asks for a page at most once. `hashes` are StableHashOf() the keys, for
  // those that are pending.
  absl::Status Find(std::span<const std::uint64_t> hashes, SegmentStorage& storage,
                    IdQuery& query) const;

  // With a look at every id of it.
  absl::StatusOr<RunPage> ReadIdPage(std::uint32_t page, SegmentStorage& storage) const;

  const RunInfo& info() const { return info_; }
  std::string_view scope(std::uint32_t number) const { return scopes_[number]; }
  std::span<const std::string> scopes() const { return scopes_; }
  std::size_t filter_bytes() const { return filter_.bytes().size(); }
  std::size_t index_bytes() const {
    return keys_.size() + first_keys_.size() * sizeof(std::uint32_t);
  }

 private:
  struct Candidate {
    std::uint32_t page = 0;
    std::uint32_t index = 0;  // in the query
    std::uint32_t scope = 0;
  };

  using ReadPage = absl::StatusOr<RunPage> (*)(const PageAddress& address, std::string bytes);
  absl::StatusOr<RunPage> ReadPageBy(ReadPage read, std::uint32_t page,
                                     SegmentStorage& storage) const;
  absl::Status ReadIndex(std::string_view text);
  RunKey FirstKeyOf(std::size_t page) const;
  // The only page that may hold the key.
  std::optional<std::uint32_t> PageOf(const RunKey& key) const;
  std::optional<std::uint32_t> FindScope(std::string_view name) const;
  std::vector<Candidate> CandidatesAmong(std::span<const std::uint64_t> hashes,
                                         const IdQuery& query) const;

  RunInfo info_;
  BlockFilter filter_;
  std::vector<std::string> scopes_;  // in order
  std::string keys_;                 // the first of each page
  std::vector<std::uint32_t> first_keys_;
};

// Writes runs, page by page.
class RunWriter {
 public:
  // `ids_max` are what it may become at most.
  RunWriter(std::uint32_t run, std::uint64_t ids_max, std::size_t page_bytes, int filter_bits);

  // REQUIRES: ids ascend: by scope, form, width, bytes.
  void Add(const StoredId& id);
  // Pages that are complete, the next ones to be written.
  std::vector<std::string> TakePages();
  std::size_t ready_bytes() const { return ready_bytes_; }
  // Completes the pages. REQUIRES: something was added.
  void Finish();

  // After Finish(): number, ids and pages; the rest is the caller's to fill in.
  const RunInfo& info() const { return info_; }

 private:
  void FinishPage();
  void Push(std::string page);

  RunInfo info_;
  const std::size_t page_bytes_;
  PageWriter page_;
  BlockFilter filter_;
  // Of the ids that came last: their blocks are on the way from memory before they are needed.
  std::array<std::uint64_t, 16> hashes_{};
  std::vector<std::string> scopes_;
  std::string keys_;
  std::vector<std::string> ready_;
  std::size_t ready_bytes_ = 0;
};

}  // namespace once::stores
