// Index: the number of scopes, their names, the first key of each page.
#include "src/stores/id_log/sorted_run.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

#include "once/abseil.h"
#include "src/stores/bytes.h"

namespace once::stores {
namespace {

void AppendKey(std::string& out, const RunKey& key) {
  AppendInt(out, key.scope);
  AppendInt(out, static_cast<std::uint8_t>(key.form));
  AppendInt(out, static_cast<std::uint8_t>(key.id.size()));
  out.append(key.id);
}

RunKey TakeKey(ByteReader& reader) {
  RunKey key{.scope = reader.TakeInt<std::uint32_t>()};
  key.form = static_cast<IdForm>(reader.TakeInt<std::uint8_t>());
  key.id = reader.Take(reader.TakeInt<std::uint8_t>());
  return key;
}

// The text that was cut into pages.
absl::StatusOr<std::string> ReadText(SegmentStorage& storage, PageAddress first,
                                     std::uint32_t pages) {
  std::string text;
  for (std::uint32_t i = 0; i < pages; ++i, ++first.page) {
    const auto page = storage.ReadPage(first.run, first.page);
    if (absl::IsNotFound(page.status())) return DamagedPage(first, "is missing");
    if (!page.ok()) return page.status();
    if (absl::Status read = AppendPage(first, *page, text); !read.ok()) return read;
  }
  return text;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const SortedRun>> SortedRun::Open(const RunInfo& info,
                                                                 SegmentStorage& storage) {
  auto run = std::make_shared<SortedRun>();
  run->info_ = info;
  const PageAddress index{.run = info.number, .page = info.id_pages};
  const auto keys = ReadText(storage, index, info.index_pages);
  if (!keys.ok()) return keys.status();
  if (absl::Status read = run->ReadIndex(*keys); !read.ok()) return read;
  const PageAddress filter{.run = info.number, .page = info.id_pages + info.index_pages};
  const auto blocks = ReadText(storage, filter, info.filter_pages);
  if (!blocks.ok()) return blocks.status();
  auto made = BlockFilter::FromBytes(*blocks);
  if (!made) return DamagedPage(filter, "is no filter");
  run->filter_ = *std::move(made);
  return std::shared_ptr<const SortedRun>(std::move(run));
}

absl::Status SortedRun::ReadIndex(std::string_view text) {
  ByteReader reader(text);
  const auto scopes = reader.TakeInt<std::uint32_t>();
  for (std::uint32_t i = 0; i < scopes && reader.is_ok(); ++i) {
    scopes_.emplace_back(reader.TakeText());
    reader.Require(i == 0 || scopes_[i - 1] < scopes_[i]);
  }
  keys_ = reader.rest();
  std::optional<RunKey> former;
  while (reader.is_ok() && !reader.is_done()) {
    first_keys_.push_back(static_cast<std::uint32_t>(keys_.size() - reader.rest().size()));
    const RunKey key = TakeKey(reader);
    reader.Require(key.scope < scopes_.size() && (!former || *former < key));
    former = key;
  }
  const bool is_whole = reader.is_done() && first_keys_.size() == info_.id_pages;
  if (is_whole) return absl::OkStatus();
  return DamagedPage({.run = info_.number, .page = info_.id_pages}, "is not as it was written");
}

RunKey SortedRun::FirstKeyOf(std::size_t page) const {
  ByteReader reader(std::string_view(keys_).substr(first_keys_[page]));
  return TakeKey(reader);
}

std::optional<std::uint32_t> SortedRun::PageOf(const RunKey& key) const {
  std::size_t first = 0;
  std::size_t end = first_keys_.size();
  while (first < end) {
    const std::size_t middle = first + (end - first) / 2;
    if (key < FirstKeyOf(middle)) {
      end = middle;
    } else {
      first = middle + 1;
    }
  }
  if (first == 0) return std::nullopt;
  return static_cast<std::uint32_t>(first - 1);
}

std::optional<std::uint32_t> SortedRun::FindScope(std::string_view name) const {
  const auto found = std::lower_bound(scopes_.begin(), scopes_.end(), name);
  if (found == scopes_.end() || *found != name) return std::nullopt;
  return static_cast<std::uint32_t>(found - scopes_.begin());
}

std::vector<SortedRun::Candidate> SortedRun::CandidatesAmong(std::span<const std::uint64_t> hashes,
                                                             const IdQuery& query) const {
  constexpr std::size_t kAhead = 16;
  const std::vector<std::uint32_t>& pending = query.pending;
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < pending.size(); ++i) {
    if (i == 0) {
      for (std::size_t p = 0; p < std::min(kAhead, pending.size()); ++p) {
        filter_.Prefetch(hashes[pending[p]]);
      }
    }
    if (i + kAhead < pending.size()) filter_.Prefetch(hashes[pending[i + kAhead]]);
    if (!filter_.MayContain(hashes[pending[i]])) continue;
    const IdKey& key = query.keys[pending[i]];
    const auto scope = FindScope(key.scope);
    if (!scope) continue;
    const PackedId packed = Pack(key.id);
    const auto page = PageOf({.scope = *scope, .form = packed.form, .id = packed.bytes()});
    if (page) candidates.push_back({.page = *page, .index = pending[i], .scope = *scope});
  }
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.page < b.page; });
  return candidates;
}

absl::Status SortedRun::Find(std::span<const std::uint64_t> hashes, SegmentStorage& storage,
                             IdQuery& query) const {
  const std::vector<Candidate> candidates = CandidatesAmong(hashes, query);
  std::vector<std::uint32_t> answered;
  for (auto next = candidates.begin(); next != candidates.end();) {
    const auto page = ReadPageBy(&RunPage::Open, next->page, storage);
    if (!page.ok()) return page.status();
    for (const std::uint32_t number = next->page; next != candidates.end() && next->page == number;
         ++next) {
      const PackedId packed = Pack(query.keys[next->index].id);
      const auto entry =
          page->Find({.scope = next->scope, .form = packed.form, .id = packed.bytes()});
      if (!entry) continue;
      query.records[next->index] = {.state = IdState::kCompleted,
                                    .fingerprint = entry->fingerprint,
                                    .attempt = entry->attempt};
      answered.push_back(next->index);
    }
  }
  if (answered.empty()) return absl::OkStatus();
  std::sort(answered.begin(), answered.end());
  query.AnswerEach([&](std::uint32_t index) {
    return std::binary_search(answered.begin(), answered.end(), index);
  });
  return absl::OkStatus();
}

absl::StatusOr<RunPage> SortedRun::ReadIdPage(std::uint32_t page, SegmentStorage& storage) const {
  return ReadPageBy(&RunPage::Read, page, storage);
}

absl::StatusOr<RunPage> SortedRun::ReadPageBy(ReadPage read_page, std::uint32_t page,
                                              SegmentStorage& storage) const {
  const PageAddress address{.run = info_.number, .page = page};
  auto bytes = storage.ReadPage(address.run, address.page);
  if (absl::IsNotFound(bytes.status())) return DamagedPage(address, "is missing");
  if (!bytes.ok()) return bytes.status();
  auto read = read_page(address, *std::move(bytes));
  if (!read.ok()) return read;
  // The index names its first key: a page of the same number from elsewhere is found out, too.
  const bool is_meant =
      read->at(0).key == FirstKeyOf(page) && read->at(read->size() - 1).key.scope < scopes_.size();
  if (!is_meant) return DamagedPage(address, "is not the one that the index speaks of");
  return read;
}

RunWriter::RunWriter(std::uint32_t run, std::uint64_t ids_max, std::size_t page_bytes,
                     int filter_bits)
    : info_({.number = run}),
      page_bytes_(page_bytes),
      page_(page_bytes),
      filter_(ids_max, filter_bits) {}

void RunWriter::Add(const StoredId& id) {
  if (scopes_.empty() || scopes_.back() != id.scope) scopes_.emplace_back(id.scope);
  const RunEntry entry{.key = {.scope = static_cast<std::uint32_t>(scopes_.size() - 1),
                               .form = id.form,
                               .id = id.id},
                       .fingerprint = id.fingerprint,
                       .attempt = id.attempt};
  if (!page_.Add(entry)) {
    FinishPage();
    const bool is_added = page_.Add(entry);
    assert(is_added);
    static_cast<void>(is_added);
    AppendKey(keys_, entry.key);
  } else if (info_.ids == 0) {
    AppendKey(keys_, entry.key);
  }
  std::uint64_t& hash = hashes_[info_.ids % hashes_.size()];
  if (info_.ids >= hashes_.size()) filter_.Add(hash);
  hash = StableHashOf({.scope = id.scope, .id = Unpack(id.form, id.id).id()});
  filter_.Prefetch(hash);
  ++info_.ids;
}

void RunWriter::FinishPage() {
  Push(page_.Finish({.run = info_.number, .page = info_.id_pages}));
  ++info_.id_pages;
}

void RunWriter::Push(std::string page) {
  ready_bytes_ += page.size();
  ready_.push_back(std::move(page));
}

std::vector<std::string> RunWriter::TakePages() {
  ready_bytes_ = 0;
  return std::exchange(ready_, {});
}

void RunWriter::Finish() {
  assert(info_.ids > 0);
  FinishPage();
  for (std::size_t i = 0; i < std::min<std::uint64_t>(info_.ids, hashes_.size()); ++i) {
    filter_.Add(hashes_[i]);
  }
  std::string index;
  AppendInt(index, static_cast<std::uint32_t>(scopes_.size()));
  for (const std::string& scope : scopes_) AppendText(index, scope);
  index.append(keys_);
  PageAddress next{.run = info_.number, .page = info_.id_pages};
  for (std::string& page : CutIntoPages(index, next, page_bytes_)) {
    Push(std::move(page));
    ++info_.index_pages;
  }
  next.page += info_.index_pages;
  for (std::string& page : CutIntoPages(filter_.bytes(), next, page_bytes_)) {
    Push(std::move(page));
    ++info_.filter_pages;
  }
}

}  // namespace once::stores
