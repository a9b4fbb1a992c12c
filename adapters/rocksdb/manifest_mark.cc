// A mark is the manifest's name, the number of bytes that were synced, and a checksum of them.
#include "adapters/rocksdb/manifest_mark.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "src/test_hooks.h"

namespace once::rocksdb {
namespace {

using ::rocksdb::IODebugContext;
using ::rocksdb::IOOptions;
using ::rocksdb::IOStatus;
using ::rocksdb::Slice;

constexpr const char* kManifestPrefix = "MANIFEST-";

// FNV-1a, which can go on where it left off. Manifests are small.
constexpr std::uint64_t kEmptySum = 0xcbf29ce484222325;
std::uint64_t SumOf(std::string_view bytes, std::uint64_t before = kEmptySum) {
  for (const char byte : bytes) {
    before = (before ^ static_cast<unsigned char>(byte)) * 0x00000100000001b3;
  }
  return before;
}

std::string TextOf(std::uint64_t sum) { return absl::StrFormat("%016x", sum); }

// Of one length, so that a later mark covers the one before it; with a checksum of its own at the
// end, for a mark that is damaged says nothing about the manifest.
std::string EncodeMark(std::string_view name, std::uint64_t bytes, std::string_view sum) {
  const std::string mark = absl::StrFormat("%s %020d %s", name, bytes, sum);
  return absl::StrCat(mark, " ", TextOf(SumOf(mark)), "\n");
}

class MarkedManifest final : public ::rocksdb::FSWritableFileOwnerWrapper {
 public:
  MarkedManifest(const std::filesystem::path& path, std::unique_ptr<::rocksdb::FSWritableFile> file)
      : FSWritableFileOwnerWrapper(std::move(file)),
        name_(path.filename().string()),
        mark_path_((path.parent_path() / kManifestMarkName).string()) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* context) override {
    return Note(data, FSWritableFileOwnerWrapper::Append(data, options, context));
  }
  IOStatus Append(const Slice& data, const IOOptions& options,
                  const ::rocksdb::DataVerificationInfo& verification,
                  IODebugContext* context) override {
    return Note(data, FSWritableFileOwnerWrapper::Append(data, options, verification, context));
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* context) override {
    return Mark(FSWritableFileOwnerWrapper::Sync(options, context));
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* context) override {
    return Mark(FSWritableFileOwnerWrapper::Fsync(options, context));
  }

 private:
  IOStatus Note(const Slice& data, IOStatus status) {
    if (!status.ok()) is_known_ = false;  // nobody knows how much of it is there
    bytes_ += data.size();
    sum_ = SumOf({data.data(), data.size()}, sum_);
    return status;
  }

  // A mark that cannot be written leaves the one before, which is as true and says less.
  IOStatus Mark(IOStatus status) {
    if (!status.ok()) is_known_ = false;
    if (!is_known_) return status;
    ONCE_KILL_POINT("rocksdb.manifest_synced");
    const int file = ::open(mark_path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) return status;
    const std::string mark = EncodeMark(name_, bytes_, TextOf(sum_));
    [[maybe_unused]] const ssize_t written = ::pwrite(file, mark.data(), mark.size(), 0);
    ::close(file);
    return status;
  }

  const std::string name_;
  const std::string mark_path_;
  std::uint64_t bytes_ = 0;
  std::uint64_t sum_ = kEmptySum;
  bool is_known_ = true;
};

std::string ReadAll(const std::string& path) {
  std::ostringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return content.str();
}

}  // namespace

std::unique_ptr<::rocksdb::FSWritableFile> MarkIfManifest(
    const std::string& path, std::unique_ptr<::rocksdb::FSWritableFile> file) {
  const std::filesystem::path split(path);
  if (!absl::StartsWith(split.filename().string(), kManifestPrefix)) return file;
  return std::make_unique<MarkedManifest>(split, std::move(file));
}

absl::Status CheckManifest(const std::string& folder) {
  const std::string mark = ReadAll(absl::StrCat(folder, "/", kManifestMarkName));
  const std::vector<std::string> fields = absl::StrSplit(mark, ' ');
  std::uint64_t bytes = 0;
  if (fields.size() != 4 || !absl::SimpleAtoi(fields[1], &bytes)) return absl::OkStatus();
  const std::string& name = fields[0];
  const std::string& sum = fields[2];
  if (mark != EncodeMark(name, bytes, sum)) return absl::OkStatus();
  // CURRENT says which manifest counts; the mark may be of the next one already.
  if (ReadAll(folder + "/CURRENT") != name + "\n") return absl::OkStatus();
  const std::string manifest = ReadAll(absl::StrCat(folder, "/", name));
  const bool is_whole =
      manifest.size() >= bytes && TextOf(SumOf(std::string_view(manifest).substr(0, bytes))) == sum;
  if (is_whole) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      "rocksdb: open ", folder, ": the first ", bytes, " bytes of ", name,
      " are not what was written, and files of the store may be forgotten; restore a backup"));
}

}  // namespace once::rocksdb
