// What lies on the disk, and what only in the page cache. The file layer itself is disk_layer.cc.
#include "tests/campaign/disk.h"

#include <algorithm>
#include <utility>

#include "tests/campaign/disk_layer.h"

namespace once::campaign {
namespace {

// What a disk writes whole or not at all. SQLite counts on no more than that the bytes around a
// write stay as they were.
constexpr std::int64_t kSectorBytes = 512;

void Overwrite(std::string& content, std::int64_t offset, std::string_view bytes) {
  const auto begin = static_cast<std::size_t>(offset);
  if (content.size() < begin + bytes.size()) content.resize(begin + bytes.size());
  content.replace(begin, bytes.size(), bytes);
}

void Truncate(std::string& content, std::int64_t size) {
  content.resize(std::min(content.size(), static_cast<std::size_t>(size)));
}

enum class Fate { kGone, kTorn, kWhole };

// Of what was not synced: nothing, all of it, all before a moment, or a random part has reached the
// disk.
class Survival {
 public:
  Survival(std::size_t changes, Dice& dice)
      : dice_(dice),
        kind_(dice.Below(4)),
        moment_(dice.Below(static_cast<std::int64_t>(changes) + 1)) {}

  Fate Of(std::size_t change) const {
    const auto at = static_cast<std::int64_t>(change);
    if (kind_ == 0) return Fate::kGone;
    if (kind_ == 1) return Fate::kWhole;
    if (kind_ == 2) return at < moment_ ? Fate::kWhole : at == moment_ ? Fate::kTorn : Fate::kGone;
    if (dice_.OneIn(2)) return Fate::kWhole;
    return dice_.OneIn(2) ? Fate::kTorn : Fate::kGone;
  }

 private:
  Dice& dice_;
  const std::int64_t kind_;
  const std::int64_t moment_;
};

// Some of its sectors.
void Tear(std::string& content, std::int64_t offset, std::string_view bytes, Dice& dice) {
  while (!bytes.empty()) {
    const auto left = static_cast<std::size_t>(kSectorBytes - offset % kSectorBytes);
    const std::string_view sector = bytes.substr(0, left);
    if (dice.OneIn(2)) Overwrite(content, offset, sector);
    bytes.remove_prefix(sector.size());
    offset += static_cast<std::int64_t>(sector.size());
  }
}

}  // namespace

std::uint64_t Dice::Next() {
  std::uint64_t mixed = seed_ + ++count_ * 0x9e3779b97f4a7c15;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
  return mixed ^ (mixed >> 31);
}

std::int64_t Dice::Below(std::int64_t bound) {
  return static_cast<std::int64_t>(Next() % static_cast<std::uint64_t>(bound));
}

Disk::Disk() : real_(sqlite3_vfs_find(nullptr)), vfs_(LayerOver(*real_, *this)) {
  sqlite3_vfs_register(&vfs_, 1);
}

Disk::~Disk() {
  sqlite3_vfs_unregister(&vfs_);
  sqlite3_vfs_register(real_, 1);
}

void Disk::CutPowerAt(std::int64_t change) {
  const auto alone = Alone();
  cut_at_ = changes_ + change;
}

void Disk::PowerUp(const FileContents& contents) {
  const auto alone = Alone();
  has_power_ = true;
  cut_at_ = 0;
  files_.clear();
  names_changed_ = 0;
  for (const auto& [path, content] : contents) files_[path].durable = content;
}

void Disk::Fail(const DiskFault& fault) {
  const auto alone = Alone();
  fault_ = fault;
  fault_calls_ = 0;
  failures_ = 0;
  drops_ = 0;
}

bool Disk::May(DiskWork work) {
  const auto alone = Alone();
  if (!has_power()) return false;
  ++calls_;
  if ((work & kDiskChange) != 0 && ++changes_ == cut_at_) {
    has_power_ = false;
    return work != kDiskSync;  // the others have their chance, as what was not synced
  }
  if (!fault_ || (fault_->work & work) == 0) return true;
  const std::int64_t call = ++fault_calls_;
  const bool fails = call >= fault_->first && call - fault_->first < fault_->count;
  if (fails) ++failures_;
  return !fails;
}

void Disk::NoteOpened(const std::string& path, std::string content, bool is_new) {
  const auto found = files_.find(path);
  if (found != files_.end() && found->second.is_present) return;
  File file{.named_at = is_new ? ++names_changed_ : 0, .durable = std::move(content)};
  if (found != files_.end()) file.former = std::make_shared<File>(found->second);
  files_.insert_or_assign(path, std::move(file));
}

void Disk::NoteWritten(const std::string& path, std::int64_t offset, std::string bytes) {
  files_[path].changes.push_back({.offset = offset, .bytes = std::move(bytes)});
}

void Disk::NoteTruncated(const std::string& path, std::int64_t size) {
  files_[path].changes.push_back({.is_truncation = true, .offset = size});
}

void Disk::NoteSynced(const std::string& path) {
  File& file = files_[path];
  for (Change& change : file.changes) change.is_synced = !change.is_doubtful;
  Settle(file);
  // SQLite syncs the folder with a file that it has made; so do file systems by themselves.
  if (file.named_at != 0) SyncNames();
}

void Disk::SyncNames() {
  for (auto& [path, file] : files_) {
    file.named_at = 0;
    file.former = nullptr;
  }
  names_changed_ = 0;
}

std::optional<std::string> Disk::NoteSyncFailed(const std::string& path) {
  File& file = files_[path];
  for (Change& change : file.changes) change.is_doubtful = !change.is_synced;
  if (!fault_ || fault_->drops == 0 || !path.ends_with("-wal")) return std::nullopt;
  const std::size_t size = Read(file).size();
  Dice dice(fault_->drops + static_cast<std::uint64_t>(failures_));
  const auto dropped = std::erase_if(file.changes, [&dice](const Change& change) {
    return change.is_doubtful && !change.is_truncation && dice.OneIn(2);
  });
  if (dropped == 0) return std::nullopt;
  ++drops_;
  std::string content = Read(file);
  content.resize(size);
  return content;
}

void Disk::NoteDeleted(const std::string& path, bool is_durable) {
  File gone{.is_present = false, .named_at = ++names_changed_};
  gone.former = std::make_shared<File>(files_[path]);
  files_.insert_or_assign(path, std::move(gone));
  if (is_durable) SyncNames();
}

// With every change, as the page cache has it.
std::string Disk::Read(const File& file) {
  std::string content = file.durable;
  for (const Change& change : file.changes) {
    if (change.is_truncation) {
      Truncate(content, change.offset);
    } else {
      Overwrite(content, change.offset, change.bytes);
    }
  }
  return content;
}

// Folds what is durable whatever happens into the content.
void Disk::Settle(File& file) {
  const auto open = std::find_if(file.changes.begin(), file.changes.end(),
                                 [](const Change& change) { return !change.is_synced; });
  for (auto change = file.changes.begin(); change != open; ++change) {
    if (change->is_truncation) {
      Truncate(file.durable, change->offset);
    } else {
      Overwrite(file.durable, change->offset, change->bytes);
    }
  }
  file.changes.erase(file.changes.begin(), open);
}

std::string Disk::Draw(const File& file, Dice& dice) {
  std::string content = file.durable;
  const Survival survival(file.changes.size(), dice);
  for (std::size_t i = 0; i < file.changes.size(); ++i) {
    const Change& change = file.changes[i];
    const Fate fate = change.is_synced ? Fate::kWhole : survival.Of(i);
    if (change.is_truncation) {
      if (fate == Fate::kWhole) Truncate(content, change.offset);
    } else if (fate == Fate::kWhole) {
      Overwrite(content, change.offset, change.bytes);
    } else if (fate == Fate::kTorn) {
      Tear(content, change.offset, change.bytes, dice);
    }
  }
  return content;
}

FileContents Disk::AfterPowerCut(Dice& dice) const {
  const auto alone = Alone();
  FileContents contents;
  const std::int64_t names_reached = dice.Below(names_changed_ + 1);
  for (const auto& [path, newest] : files_) {
    const File* file = &newest;
    while (file != nullptr && file->named_at > names_reached) file = file->former.get();
    if (file != nullptr && file->is_present) contents[path] = Draw(*file, dice);
  }
  return contents;
}

}  // namespace once::campaign
