// Keys and values as src/stores/bytes.h writes them.
#include "src/loss_notes.h"

#include "src/stores/bytes.h"

namespace once {
namespace {

constexpr std::string_view kFamily = "loss";
constexpr std::uint8_t kVersion = 1;

bool IsKind(char byte) { return std::string_view("pwsgf").find(byte) != std::string_view::npos; }

}  // namespace

std::string LossNotePrefix(LossNoteKind kind) {
  return std::string(kFamily) + static_cast<char>(kind);
}

std::string LossNoteKey(LossNoteKind kind, const PartitionKey& partition) {
  std::string key = LossNotePrefix(kind);
  stores::AppendText(key, partition.cluster);
  stores::AppendText(key, partition.group);
  stores::AppendText(key, partition.partition.topic);
  stores::AppendInt(key, partition.partition.partition);
  return key;
}

std::optional<LossNoteName> ParseLossNoteKey(std::string_view key) {
  if (!key.starts_with(kFamily) || key.size() <= kFamily.size()) return std::nullopt;
  const char kind = key[kFamily.size()];
  stores::ByteReader read(key.substr(kFamily.size() + 1));
  LossNoteName name{.kind = static_cast<LossNoteKind>(kind)};
  name.partition.cluster = read.TakeText();
  name.partition.group = read.TakeText();
  name.partition.partition.topic = read.TakeText();
  name.partition.partition.partition = read.TakeInt<std::int32_t>();
  name.stream = read.rest();
  read.Require(IsKind(kind));
  const bool has_stream = name.kind == LossNoteKind::kHead || name.kind == LossNoteKind::kLosses;
  read.Require(has_stream != name.stream.empty());
  if (!read.is_ok()) return std::nullopt;
  return name;
}

std::string EncodeProgress(const PartitionProgress& progress) {
  std::string bytes;
  stores::AppendInt(bytes, kVersion);
  stores::AppendInt(bytes, progress.began);
  stores::AppendInt(bytes, progress.position);
  stores::AppendInt(bytes, progress.era);
  stores::AppendInt(bytes, progress.missing);
  return bytes;
}

std::optional<PartitionProgress> DecodeProgress(std::string_view bytes) {
  stores::ByteReader read(bytes);
  read.Require(read.TakeInt<std::uint8_t>() == kVersion);
  PartitionProgress progress;
  progress.began = read.TakeInt<std::int64_t>();
  progress.position = read.TakeInt<std::int64_t>();
  progress.era = read.TakeInt<std::uint32_t>();
  progress.missing = read.TakeInt<std::uint64_t>();
  if (!read.is_done()) return std::nullopt;
  return progress;
}

std::string EncodeNames(const std::vector<std::string>& names) {
  std::string bytes;
  for (const std::string& name : names) stores::AppendText(bytes, name);
  return bytes;
}

std::optional<std::vector<std::string>> DecodeNames(std::string_view bytes) {
  std::vector<std::string> names;
  stores::ByteReader read(bytes);
  while (read.is_ok() && !read.rest().empty()) names.emplace_back(read.TakeText());
  if (!read.is_done()) return std::nullopt;
  return names;
}

}  // namespace once
