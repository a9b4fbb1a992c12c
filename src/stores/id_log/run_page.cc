// kind, groups (description, attempts, ids, fingerprints), checksum.
#include "src/stores/id_log/run_page.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "src/stores/bytes.h"
#include "src/stores/id_log/checksum.h"

namespace once::stores {
namespace {

// The first byte of a page.
constexpr std::uint8_t kIdsPage = 1;
constexpr std::uint8_t kTextPage = 2;

constexpr std::size_t kFrameBytes = 1 + kChecksumBytes;
constexpr std::size_t kGroupBytes = 4 + 1 + 1 + 1 + 2;
constexpr std::size_t kPrintBytes = 16;
constexpr std::size_t kAttemptBytes = 2;
constexpr std::uint8_t kHasPrints = 1;
constexpr std::uint8_t kIsOneAttempt = 2;

}  // namespace

absl::Status DamagedPage(const PageAddress& address, std::string_view what) {
  return absl::DataLossError(absl::StrCat("id log: page ", address.page, " of run ", address.run,
                                          " ", ToAbsl(what), "; restore a backup"));
}

std::size_t PageWriter::Group::BytesWith(const RunEntry* more) const {
  const std::size_t size = attempts.size() + (more != nullptr ? 1 : 0);
  const bool prints_then = has_prints || (more != nullptr && more->fingerprint.is_set());
  const bool is_one_then =
      is_one_attempt && (more == nullptr || attempts.empty() || more->attempt == attempts.front());
  return kGroupBytes + size * width + (prints_then ? size * kPrintBytes : 0) +
         (is_one_then ? kAttemptBytes : size * kAttemptBytes);
}

bool PageWriter::Add(const RunEntry& entry) {
  const bool is_new = groups_.empty() || groups_.back().scope != entry.key.scope ||
                      groups_.back().form != entry.key.form ||
                      groups_.back().width != entry.key.id.size();
  const Group fresh{.scope = entry.key.scope,
                    .form = entry.key.form,
                    .width = static_cast<std::uint8_t>(entry.key.id.size())};
  const std::size_t before =
      bytes_before_ + (is_new && !groups_.empty() ? groups_.back().BytesWith(nullptr) : 0);
  const Group& before_adding = is_new ? fresh : groups_.back();
  if (kFrameBytes + before + before_adding.BytesWith(&entry) > bytes_max_) return false;
  bytes_before_ = before;
  if (is_new) groups_.push_back(fresh);
  Group& group = groups_.back();
  group.has_prints = group.has_prints || entry.fingerprint.is_set();
  group.is_one_attempt =
      group.is_one_attempt && (group.attempts.empty() || group.attempts.front() == entry.attempt);
  group.ids.append(entry.key.id);
  group.prints.push_back(entry.fingerprint);
  group.attempts.push_back(entry.attempt);
  return true;
}

std::string PageWriter::Finish(const PageAddress& address) {
  assert(!groups_.empty());
  std::string out;
  out.reserve(bytes_max_);
  AppendInt(out, kIdsPage);
  for (const Group& group : groups_) {
    AppendInt(out, group.scope);
    AppendInt(out, static_cast<std::uint8_t>(group.form));
    AppendInt(out, group.width);
    AppendInt(out, static_cast<std::uint8_t>((group.has_prints ? kHasPrints : 0) |
                                             (group.is_one_attempt ? kIsOneAttempt : 0)));
    AppendInt(out, static_cast<std::uint16_t>(group.attempts.size()));
    const std::size_t attempts = group.is_one_attempt ? 1 : group.attempts.size();
    for (std::size_t i = 0; i < attempts; ++i) AppendInt(out, group.attempts[i]);
    out.append(group.ids);
    if (!group.has_prints) continue;
    for (const Fingerprint& print : group.prints) AppendPrint(out, print);
  }
  AppendChecksum(out, address.seed());
  groups_.clear();
  bytes_before_ = 0;
  return out;
}

absl::StatusOr<RunPage> RunPage::Open(const PageAddress& address, std::string bytes) {
  RunPage page;
  page.bytes_ = std::move(bytes);
  const auto content = WithoutChecksum(page.bytes_, address.seed());
  if (!content) return DamagedPage(address, "does not match its checksum");
  ByteReader reader(*content);
  reader.Require(reader.TakeInt<std::uint8_t>() == kIdsPage);
  const auto here = [&] { return content->size() - reader.rest().size(); };
  while (reader.is_ok() && !reader.is_done()) {
    Group group{.scope = reader.TakeInt<std::uint32_t>()};
    const auto form = reader.TakeInt<std::uint8_t>();
    group.form = static_cast<IdForm>(form);
    group.width = reader.TakeInt<std::uint8_t>();
    const auto flags = reader.TakeInt<std::uint8_t>();
    group.has_prints = (flags & kHasPrints) != 0;
    group.is_one_attempt = (flags & kIsOneAttempt) != 0;
    group.size = reader.TakeInt<std::uint16_t>();
    reader.Require(form < kIdForms && flags <= (kHasPrints | kIsOneAttempt) && group.size > 0);
    group.attempts = here();
    reader.Take(kAttemptBytes * (group.is_one_attempt ? 1 : group.size));
    group.ids = here();
    reader.Take(std::uint64_t{group.size} * group.width);
    group.prints = here();
    reader.Take(group.has_prints ? kPrintBytes * group.size : 0);
    if (!reader.is_ok()) break;
    page.size_ += group.size;
    page.groups_.push_back(group);
  }
  if (reader.is_done() && !page.groups_.empty()) return page;
  return DamagedPage(address, "is not as it was written");
}

absl::StatusOr<RunPage> RunPage::Read(const PageAddress& address, std::string bytes) {
  absl::StatusOr<RunPage> page = Open(address, std::move(bytes));
  if (!page.ok() || page->IsInOrder()) return page;
  return DamagedPage(address, "is not in order");
}

// And as PageWriter puts it: nothing is said where it could be left out.
bool RunPage::IsInOrder() const {
  std::optional<RunKey> former;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    const Group& group = groups_[g];
    bool has_print = false;
    bool is_one_attempt = true;
    for (std::size_t at = 0; at < group.size; ++at) {
      const RunEntry entry = EntryOf(group, at);
      if (!IsPacked(entry.key.form, entry.key.id)) return false;
      if (former && !(*former < entry.key)) return false;
      former = entry.key;
      has_print = has_print || entry.fingerprint.is_set();
      is_one_attempt = is_one_attempt && entry.attempt == EntryOf(group, 0).attempt;
    }
    if (has_print != group.has_prints || is_one_attempt != group.is_one_attempt) return false;
    const bool is_split = g > 0 && groups_[g - 1].scope == group.scope &&
                          groups_[g - 1].form == group.form && groups_[g - 1].width == group.width;
    if (is_split) return false;
  }
  return true;
}

RunEntry RunPage::EntryOf(const Group& group, std::size_t at) const {
  const std::string_view bytes = bytes_;
  RunEntry entry{.key = {.scope = group.scope,
                         .form = group.form,
                         .id = bytes.substr(group.ids + at * group.width, group.width)}};
  const std::size_t attempt = group.is_one_attempt ? 0 : at;
  entry.attempt = ByteReader(bytes.substr(group.attempts + attempt * kAttemptBytes, kAttemptBytes))
                      .TakeInt<std::uint16_t>();
  if (group.has_prints) {
    entry.fingerprint =
        ByteReader(bytes.substr(group.prints + at * kPrintBytes, kPrintBytes)).TakePrint();
  }
  return entry;
}

std::optional<RunEntry> RunPage::Find(const RunKey& key) const {
  for (const Group& group : groups_) {
    const bool is_meant =
        group.scope == key.scope && group.form == key.form && group.width == key.id.size();
    if (!is_meant) continue;
    const std::string_view ids =
        std::string_view(bytes_).substr(group.ids, std::size_t{group.size} * group.width);
    std::size_t first = 0;
    std::size_t end = group.size;
    while (first < end) {
      const std::size_t middle = first + (end - first) / 2;
      const auto order = ids.substr(middle * group.width, group.width) <=> key.id;
      if (order == 0) return EntryOf(group, middle);
      (order < 0 ? first : end) = order < 0 ? middle + 1 : middle;
    }
  }
  return std::nullopt;
}

void RunPage::ForEach(absl::FunctionRef<void(const RunEntry&)> visit) const {
  for (const Group& group : groups_) {
    for (std::size_t at = 0; at < group.size; ++at) visit(EntryOf(group, at));
  }
}

RunEntry RunPage::at(std::size_t index) const {
  auto group = groups_.begin();
  for (; index >= group->size; ++group) index -= group->size;
  return EntryOf(*group, index);
}

std::vector<std::string> CutIntoPages(std::string_view text, PageAddress first,
                                      std::size_t bytes_max) {
  std::vector<std::string> pages;
  while (!text.empty()) {
    std::string page;
    page.reserve(bytes_max);
    AppendInt(page, kTextPage);
    const std::string_view part = text.substr(0, bytes_max - kFrameBytes);
    page.append(part);
    text.remove_prefix(part.size());
    AppendChecksum(page, first.seed());
    ++first.page;
    pages.push_back(std::move(page));
  }
  return pages;
}

absl::Status AppendPage(const PageAddress& address, std::string_view bytes, std::string& text) {
  const auto content = WithoutChecksum(bytes, address.seed());
  if (!content || content->empty() || content->front() != kTextPage) {
    return DamagedPage(address, "does not match its checksum");
  }
  text.append(content->substr(1));
  return absl::OkStatus();
}

}  // namespace once::stores
