// Every method passes on to the real file; some of them may fail first.
#include "adapters/sqlite/tests/fault_vfs.h"

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

namespace once::sqlite {
namespace {

struct FaultFile : sqlite3_file {
  FaultVfs* owner;
  int system_error = 0;  // of the last failure that was ours
  std::string* path;
  sqlite3_file* real;  // lies right behind this object
};

FaultFile* Ours(sqlite3_file* file) { return static_cast<FaultFile*>(file); }
const sqlite3_io_methods* Methods(sqlite3_file* file) { return Ours(file)->real->pMethods; }

int Close(sqlite3_file* file) {
  const int code = Methods(file)->xClose(Ours(file)->real);
  delete Ours(file)->path;
  return code;
}

int Write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
  FaultFile* ours = Ours(file);
  const auto paused = ours->owner->Pause();
  ours->owner->NoteWriting(*ours->path);
  const Fault fault = ours->owner->fault();
  const bool can_hit =
      fault == Fault::kWriteError || fault == Fault::kTornWrite || fault == Fault::kDiskFull;
  if (!can_hit || !ours->owner->ShouldFail(fault, *ours->path)) {
    ours->owner->NoteWritten(*ours->path, static_cast<std::size_t>(offset),
                             static_cast<std::size_t>(size));
    return Methods(file)->xWrite(ours->real, data, size, offset);
  }
  if (fault != Fault::kWriteError) Methods(file)->xWrite(ours->real, data, size / 2, offset);
  return fault == Fault::kDiskFull ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  const auto paused = Ours(file)->owner->Pause();
  Ours(file)->owner->NoteTruncated(*Ours(file)->path, static_cast<std::size_t>(size));
  return Methods(file)->xTruncate(Ours(file)->real, size);
}

int Sync(sqlite3_file* file, int flags) {
  FaultFile* ours = Ours(file);
  const auto paused = ours->owner->Pause();
  if (ours->owner->ShouldFail(Fault::kSyncError, *ours->path)) {
    for (const auto& [offset, bytes] : ours->owner->NoteSyncFailed(*ours->path)) {
      if (!ours->owner->drops_unsynced()) continue;
      Methods(file)->xWrite(ours->real, bytes.data(), static_cast<int>(bytes.size()),
                            static_cast<sqlite3_int64>(offset));
    }
    ours->system_error = EIO;
    return SQLITE_IOERR_FSYNC;
  }
  ours->system_error = 0;
  const int code = Methods(file)->xSync(ours->real, flags);
  if (code != SQLITE_OK) return code;
  std::string content;
  if (sqlite3_int64 size = 0; ours->owner->keeps_synced()) {
    Methods(file)->xFileSize(ours->real, &size);
    content.resize(static_cast<std::size_t>(size));
    Methods(file)->xRead(ours->real, content.data(), static_cast<int>(size), 0);
  }
  ours->owner->NoteSynced(*ours->path, content);
  return code;
}

int ShmMap(sqlite3_file* file, int page, int size, int extend, void volatile** memory) {
  FaultFile* ours = Ours(file);
  const auto paused = ours->owner->Pause();
  if (ours->owner->ShouldFail(Fault::kSharedMemory, *ours->path)) return SQLITE_IOERR_SHMMAP;
  return Methods(file)->xShmMap(ours->real, page, size, extend, memory);
}

const sqlite3_io_methods* FaultMethods() {
  static const sqlite3_io_methods methods = {
      .iVersion = 2,
      .xClose = Close,
      .xRead =
          [](sqlite3_file* f, void* data, int size, sqlite3_int64 offset) {
            return Methods(f)->xRead(Ours(f)->real, data, size, offset);
          },
      .xWrite = Write,
      .xTruncate = Truncate,
      .xSync = Sync,
      .xFileSize = [](sqlite3_file* f,
                      sqlite3_int64* size) { return Methods(f)->xFileSize(Ours(f)->real, size); },
      .xLock = [](sqlite3_file* f, int level) { return Methods(f)->xLock(Ours(f)->real, level); },
      .xUnlock = [](sqlite3_file* f,
                    int level) { return Methods(f)->xUnlock(Ours(f)->real, level); },
      .xCheckReservedLock =
          [](sqlite3_file* f, int* result) {
            return Methods(f)->xCheckReservedLock(Ours(f)->real, result);
          },
      .xFileControl =
          [](sqlite3_file* f, int op, void* argument) {
            if (op == SQLITE_FCNTL_LAST_ERRNO && Ours(f)->system_error != 0) {
              *static_cast<int*>(argument) = Ours(f)->system_error;
              return SQLITE_OK;
            }
            return Methods(f)->xFileControl(Ours(f)->real, op, argument);
          },
      .xSectorSize = [](sqlite3_file* f) { return Methods(f)->xSectorSize(Ours(f)->real); },
      .xDeviceCharacteristics =
          [](sqlite3_file* f) { return Methods(f)->xDeviceCharacteristics(Ours(f)->real); },
      .xShmMap = ShmMap,
      .xShmLock =
          [](sqlite3_file* f, int offset, int count, int flags) {
            return Methods(f)->xShmLock(Ours(f)->real, offset, count, flags);
          },
      .xShmBarrier = [](sqlite3_file* f) { Methods(f)->xShmBarrier(Ours(f)->real); },
      .xShmUnmap =
          [](sqlite3_file* f, int should_delete) {
            return Methods(f)->xShmUnmap(Ours(f)->real, should_delete);
          },
      .xFetch = nullptr,
      .xUnfetch = nullptr,
  };
  return &methods;
}

int Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  auto* owner = static_cast<FaultVfs*>(vfs->pAppData);
  auto* ours = new (file) FaultFile;
  ours->owner = owner;
  ours->real = reinterpret_cast<sqlite3_file*>(ours + 1);
  const int code = owner->real()->xOpen(owner->real(), name, ours->real, flags, out_flags);
  ours->pMethods = code == SQLITE_OK ? FaultMethods() : nullptr;
  ours->path = code == SQLITE_OK ? new std::string(name != nullptr ? name : "") : nullptr;
  return code;
}

}  // namespace

FaultVfs::FaultVfs() : real_(sqlite3_vfs_find(nullptr)), vfs_(*real_) {
  vfs_.zName = "once-faults";
  vfs_.szOsFile = static_cast<int>(sizeof(FaultFile)) + real_->szOsFile;
  vfs_.pAppData = this;
  vfs_.pNext = nullptr;
  vfs_.xOpen = Open;
  // The others take the object as an argument and read its pAppData: unix's finds its method there.
  vfs_.xDelete = [](sqlite3_vfs* vfs, const char* name, int sync) {
    sqlite3_vfs* real = static_cast<FaultVfs*>(vfs->pAppData)->real_;
    return real->xDelete(real, name, sync);
  };
  vfs_.xAccess = [](sqlite3_vfs* vfs, const char* name, int flags, int* result) {
    sqlite3_vfs* real = static_cast<FaultVfs*>(vfs->pAppData)->real_;
    return real->xAccess(real, name, flags, result);
  };
  vfs_.xFullPathname = [](sqlite3_vfs* vfs, const char* name, int size, char* out) {
    sqlite3_vfs* real = static_cast<FaultVfs*>(vfs->pAppData)->real_;
    return real->xFullPathname(real, name, size, out);
  };
  sqlite3_vfs_register(&vfs_, 1);
}

FaultVfs::~FaultVfs() {
  sqlite3_vfs_unregister(&vfs_);
  sqlite3_vfs_register(real_, 1);
}

void FaultVfs::Arm(Fault fault, std::string_view suffix, int nth, bool is_lasting) {
  const auto paused = Pause();
  fault_ = fault;
  suffix_ = suffix;
  countdown_ = nth;
  is_lasting_ = is_lasting;
  has_fired_ = false;
}

int FaultVfs::CountSyncs(std::string_view suffix) const {
  const auto paused = Pause();
  int syncs = 0;
  for (const auto& [path, file] : synced_) {
    if (path.ends_with(suffix)) syncs += file.syncs;
  }
  return syncs;
}

std::string FaultVfs::Synced(const std::string& path) const {
  const auto paused = Pause();
  const auto found = synced_.find(path);
  return found == synced_.end() ? "" : found->second.content;
}

void FaultVfs::WatchWrites(std::string_view suffix, std::function<void()> watch) {
  const auto paused = Pause();
  watched_ = suffix;
  watch_ = std::move(watch);
}

void FaultVfs::NoteWriting(std::string_view path) const {
  if (watch_ && path.ends_with(watched_)) watch_();
}

std::map<std::size_t, std::string> FaultVfs::NoteSyncFailed(const std::string& path) {
  SyncedFile& file = synced_[path];
  std::map<std::size_t, std::string> durable;
  for (const Range& range : file.unsynced) {
    std::string& bytes = durable[range.offset];
    if (range.offset < file.content.size()) bytes = file.content.substr(range.offset, range.size);
    bytes.resize(range.size);
  }
  file.unsynced.clear();
  return durable;
}

void FaultVfs::NoteWritten(const std::string& path, std::size_t offset, std::size_t size) {
  if (keeps_synced_) synced_[path].unsynced.push_back({offset, size});
}

// Taken as durable at once: whether it is does not matter to what is tested with this.
void FaultVfs::NoteTruncated(const std::string& path, std::size_t size) {
  SyncedFile& file = synced_[path];
  file.content.resize(std::min(file.content.size(), size));
}

void FaultVfs::NoteSynced(const std::string& path, const std::string& content) {
  SyncedFile& file = synced_[path];
  ++file.syncs;
  if (!keeps_synced_) return;
  file.content.resize(content.size());
  for (const Range& range : file.unsynced) {
    if (range.offset >= content.size()) continue;
    const std::size_t size = std::min(range.size, content.size() - range.offset);
    file.content.replace(range.offset, size, content, range.offset, size);
  }
  file.unsynced.clear();
}

bool FaultVfs::ShouldFail(Fault fault, std::string_view path) {
  if (fault != fault_ || !path.ends_with(suffix_)) return false;
  if (countdown_ > 0) --countdown_;
  const bool fails = countdown_ == 0 && (is_lasting_ || !has_fired_);
  has_fired_ |= fails;
  return fails;
}

}  // namespace once::sqlite
