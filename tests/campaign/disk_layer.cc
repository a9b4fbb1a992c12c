// Every method asks the Disk whether it may, calls the real one, and notes what has changed.
#include "tests/campaign/disk_layer.h"

#include <new>
#include <string>
#include <utility>

#include "tests/campaign/disk.h"

namespace once::campaign {
namespace {

struct LayerFile : sqlite3_file {
  Disk* disk;
  std::string* path;
  sqlite3_file* real;  // lies right behind this object
};

LayerFile& Ours(sqlite3_file* file) { return *static_cast<LayerFile*>(file); }
sqlite3_file* Real(sqlite3_file* file) { return Ours(file).real; }
const sqlite3_io_methods& Methods(sqlite3_file* file) { return *Real(file)->pMethods; }
bool May(sqlite3_file* file, DiskWork work) { return Ours(file).disk->May(work); }

std::string ReadAll(sqlite3_file* real) {
  sqlite3_int64 size = 0;
  real->pMethods->xFileSize(real, &size);
  std::string content(static_cast<std::size_t>(size), '\0');
  if (size > 0) real->pMethods->xRead(real, content.data(), static_cast<int>(size), 0);
  return content;
}

int Close(sqlite3_file* file) {
  const int code = Methods(file).xClose(Real(file));
  delete Ours(file).path;
  return code;
}

int Read(sqlite3_file* file, void* data, int size, sqlite3_int64 offset) {
  const auto alone = Ours(file).disk->Alone();
  if (!May(file, kDiskRead)) return SQLITE_IOERR_READ;
  return Methods(file).xRead(Real(file), data, size, offset);
}

int Write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
  Disk& disk = *Ours(file).disk;
  const auto alone = disk.Alone();
  const bool may = disk.May(kDiskWrite);
  if (!may && !disk.has_power()) return SQLITE_IOERR_WRITE;
  const int written = may ? size : size / 2;
  if (written > 0) {
    const int code = Methods(file).xWrite(Real(file), data, written, offset);
    if (code != SQLITE_OK) return code;
    disk.NoteWritten(
        *Ours(file).path, offset,
        std::string(static_cast<const char*>(data), static_cast<std::size_t>(written)));
  }
  if (!disk.has_power()) return SQLITE_IOERR_WRITE;
  if (may) return SQLITE_OK;
  return disk.is_full() ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  const auto alone = Ours(file).disk->Alone();
  if (!May(file, kDiskTruncate)) return SQLITE_IOERR_TRUNCATE;
  const int code = Methods(file).xTruncate(Real(file), size);
  if (code == SQLITE_OK) Ours(file).disk->NoteTruncated(*Ours(file).path, size);
  return Ours(file).disk->has_power() ? code : SQLITE_IOERR_TRUNCATE;
}

int Sync(sqlite3_file* file, int /*flags*/) {
  Disk& disk = *Ours(file).disk;
  const auto alone = disk.Alone();
  if (disk.May(kDiskSync)) {
    disk.NoteSynced(*Ours(file).path);
    return SQLITE_OK;
  }
  if (!disk.has_power()) return SQLITE_IOERR_FSYNC;
  if (const auto left = disk.NoteSyncFailed(*Ours(file).path); left.has_value()) {
    Methods(file).xWrite(Real(file), left->data(), static_cast<int>(left->size()), 0);
  }
  return SQLITE_IOERR_FSYNC;
}

int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  if (!May(file, kDiskLook)) return SQLITE_IOERR_FSTAT;
  return Methods(file).xFileSize(Real(file), size);
}

int Lock(sqlite3_file* file, int level) {
  if (!May(file, kDiskLock)) return SQLITE_IOERR_LOCK;
  return Methods(file).xLock(Real(file), level);
}

// Letting go always works: a process that dies lets go as well.
int Unlock(sqlite3_file* file, int level) { return Methods(file).xUnlock(Real(file), level); }

int CheckReservedLock(sqlite3_file* file, int* result) {
  if (!May(file, kDiskLock)) return SQLITE_IOERR_CHECKRESERVEDLOCK;
  return Methods(file).xCheckReservedLock(Real(file), result);
}

int FileControl(sqlite3_file* file, int operation, void* argument) {
  return Methods(file).xFileControl(Real(file), operation, argument);
}

int SectorSize(sqlite3_file* file) { return Methods(file).xSectorSize(Real(file)); }
int DeviceCharacteristics(sqlite3_file* file) {
  return Methods(file).xDeviceCharacteristics(Real(file));
}

int ShmMap(sqlite3_file* file, int page, int size, int extend, void volatile** memory) {
  if (!May(file, kDiskShare)) return SQLITE_IOERR_SHMMAP;
  return Methods(file).xShmMap(Real(file), page, size, extend, memory);
}

int ShmLock(sqlite3_file* file, int offset, int count, int flags) {
  if ((flags & SQLITE_SHM_LOCK) != 0 && !May(file, kDiskShare)) return SQLITE_IOERR_SHMLOCK;
  return Methods(file).xShmLock(Real(file), offset, count, flags);
}

void ShmBarrier(sqlite3_file* file) { Methods(file).xShmBarrier(Real(file)); }
int ShmUnmap(sqlite3_file* file, int should_delete) {
  return Methods(file).xShmUnmap(Real(file), should_delete);
}

const sqlite3_io_methods* LayerMethods() {
  static const sqlite3_io_methods methods = {
      .iVersion = 2,
      .xClose = Close,
      .xRead = Read,
      .xWrite = Write,
      .xTruncate = Truncate,
      .xSync = Sync,
      .xFileSize = FileSize,
      .xLock = Lock,
      .xUnlock = Unlock,
      .xCheckReservedLock = CheckReservedLock,
      .xFileControl = FileControl,
      .xSectorSize = SectorSize,
      .xDeviceCharacteristics = DeviceCharacteristics,
      .xShmMap = ShmMap,
      .xShmLock = ShmLock,
      .xShmBarrier = ShmBarrier,
      .xShmUnmap = ShmUnmap,
      .xFetch = nullptr,
      .xUnfetch = nullptr,
  };
  return &methods;
}

Disk& DiskOf(sqlite3_vfs* vfs) { return *static_cast<Disk*>(vfs->pAppData); }

int Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  Disk& disk = DiskOf(vfs);
  const auto alone = disk.Alone();
  auto* ours = new (file) LayerFile;
  ours->pMethods = nullptr;
  ours->disk = &disk;
  ours->real = reinterpret_cast<sqlite3_file*>(ours + 1);
  ours->real->pMethods = nullptr;
  if (!disk.May(kDiskOpen)) return SQLITE_CANTOPEN;
  int is_there = 0;
  if (name != nullptr) disk.real()->xAccess(disk.real(), name, SQLITE_ACCESS_EXISTS, &is_there);
  const int code = disk.real()->xOpen(disk.real(), name, ours->real, flags, out_flags);
  if (code != SQLITE_OK) return code;
  ours->pMethods = LayerMethods();
  ours->path = new std::string(name != nullptr ? name : "");
  disk.NoteOpened(*ours->path, ReadAll(ours->real), is_there == 0);
  return SQLITE_OK;
}

int Delete(sqlite3_vfs* vfs, const char* name, int sync_folder) {
  Disk& disk = DiskOf(vfs);
  const auto alone = disk.Alone();
  if (!disk.May(kDiskDelete)) return SQLITE_IOERR_DELETE;
  const int code = disk.real()->xDelete(disk.real(), name, 0);
  if (code == SQLITE_OK) disk.NoteDeleted(name, sync_folder != 0 && disk.has_power());
  return disk.has_power() ? code : SQLITE_IOERR_DELETE;
}

int Access(sqlite3_vfs* vfs, const char* name, int flags, int* result) {
  Disk& disk = DiskOf(vfs);
  if (!disk.May(kDiskLook)) return SQLITE_IOERR_ACCESS;
  return disk.real()->xAccess(disk.real(), name, flags, result);
}

// The real methods take the object as an argument and find their own data in it.
int FullPathname(sqlite3_vfs* vfs, const char* name, int size, char* out) {
  return DiskOf(vfs).real()->xFullPathname(DiskOf(vfs).real(), name, size, out);
}

}  // namespace

sqlite3_vfs LayerOver(const sqlite3_vfs& real, Disk& disk) {
  sqlite3_vfs layer = real;
  layer.szOsFile = static_cast<int>(sizeof(LayerFile)) + real.szOsFile;
  layer.zName = "once-disk";
  layer.pNext = nullptr;
  layer.pAppData = &disk;
  layer.xOpen = Open;
  layer.xDelete = Delete;
  layer.xAccess = Access;
  layer.xFullPathname = FullPathname;
  return layer;
}

}  // namespace once::campaign
