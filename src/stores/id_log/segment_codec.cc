// version, log time, scopes, groups (description, ids, fingerprints), checksum.
#include "src/stores/id_log/segment_codec.h"

#include <cassert>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "src/stores/bytes.h"
#include "src/stores/id_log/checksum.h"

namespace once::stores {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kPrintBytes = 16;

}  // namespace

void SegmentWriter::Add(const IdKey& key, const Fingerprint& fingerprint, std::uint16_t attempt) {
  const PackedId packed = Pack(key.id);
  const bool has_print = fingerprint.is_set();
  const bool is_last = last_ != nullptr && last_->first.form == packed.form &&
                       last_->first.width == packed.size && last_->first.has_print == has_print &&
                       last_->first.attempt == attempt && last_->first.scope == key.scope;
  if (!is_last) {
    last_ = &*groups_
                  .try_emplace({.scope = std::string(key.scope),
                                .form = packed.form,
                                .width = packed.size,
                                .has_print = has_print,
                                .attempt = attempt})
                  .first;
  }
  Group& group = last_->second;
  group.ids.append(packed.bytes());
  if (has_print) AppendPrint(group.prints, fingerprint);
  ++group.size;
  ++size_;
}

std::string SegmentWriter::Finish(std::uint64_t number, std::int64_t log_time_ms) {
  assert(size_ > 0);
  std::map<std::string_view, std::uint32_t> scopes;
  std::size_t bytes = 0;
  for (const auto& [key, group] : groups_) {
    scopes.try_emplace(key.scope, static_cast<std::uint32_t>(scopes.size()));
    bytes += group.ids.size() + group.prints.size() + key.scope.size() + 32;
  }
  std::string out;
  out.reserve(bytes + 64);
  AppendInt(out, kVersion);
  AppendInt(out, log_time_ms);
  AppendInt(out, static_cast<std::uint32_t>(scopes.size()));
  for (const auto& [name, index] : scopes) AppendText(out, name);
  AppendInt(out, static_cast<std::uint32_t>(groups_.size()));
  for (const auto& [key, group] : groups_) {
    AppendInt(out, scopes.at(key.scope));
    AppendInt(out, static_cast<std::uint8_t>(key.form));
    AppendInt(out, key.width);
    AppendInt(out, static_cast<std::uint8_t>(key.has_print));
    AppendInt(out, key.attempt);
    AppendInt(out, group.size);
    out.append(group.ids);
    out.append(group.prints);
  }
  AppendChecksum(out, number);
  return out;
}

absl::StatusOr<Segment> Segment::Read(std::uint64_t number, std::string_view bytes) {
  const auto damaged = [&](const char* what) {
    return absl::DataLossError(
        absl::StrCat("id log: segment ", number, " ", what, "; restore a backup"));
  };
  const auto content = WithoutChecksum(bytes, number);
  if (!content) return damaged("does not match its checksum");
  ByteReader reader(*content);
  if (reader.TakeInt<std::uint8_t>() != kVersion) return damaged("is of an unknown version");
  Segment segment;
  segment.number_ = number;
  segment.log_time_ms_ = reader.TakeInt<std::int64_t>();
  std::vector<std::string_view> scopes;
  const auto scope_count = reader.TakeInt<std::uint32_t>();
  for (std::uint32_t i = 0; i < scope_count && reader.is_ok(); ++i) {
    scopes.push_back(reader.TakeText());
    reader.Require(i == 0 || scopes[i - 1] < scopes[i]);
  }
  const auto group_count = reader.TakeInt<std::uint32_t>();
  std::optional<std::tuple<std::uint32_t, IdForm, std::uint8_t, bool, std::uint16_t>> former;
  for (std::uint32_t i = 0; i < group_count && reader.is_ok(); ++i) {
    const auto scope = reader.TakeInt<std::uint32_t>();
    const auto form = reader.TakeInt<std::uint8_t>();
    SegmentGroup group{.form = static_cast<IdForm>(form), .width = reader.TakeInt<std::uint8_t>()};
    const auto has_print = reader.TakeInt<std::uint8_t>();
    group.attempt = reader.TakeInt<std::uint16_t>();
    const std::uint64_t size = reader.TakeInt<std::uint32_t>();
    const std::tuple key(scope, group.form, group.width, has_print == 1, group.attempt);
    // As the writer orders them; so no scope is left out, either.
    const std::uint32_t scope_min = former ? std::get<0>(*former) : 0;
    reader.Require(scope < scopes.size() && scope >= scope_min &&
                   scope <= scope_min + (former ? 1 : 0));
    reader.Require(form < kIdForms && has_print <= 1 && size > 0 && (!former || *former < key));
    group.ids = reader.Take(size * group.width);
    if (has_print == 1) group.prints = reader.Take(size * kPrintBytes);
    if (!reader.is_ok()) break;
    group.scope = scopes[scope];
    for (std::size_t at = 0; at < size && reader.is_ok(); ++at) {
      reader.Require(IsPacked(group.form, group.ids.substr(at * group.width, group.width)));
      if (has_print == 0) continue;
      ByteReader print(group.prints.substr(at * kPrintBytes, kPrintBytes));
      reader.Require(print.TakePrint().is_set());
    }
    former = key;
    segment.size_ += size;
    segment.groups_.push_back(group);
  }
  reader.Require(former && std::get<0>(*former) + 1 == scopes.size());
  if (!reader.is_done()) return damaged("is not as it was written");
  return segment;
}

StoredId SegmentGroup::operator[](std::size_t at) const {
  StoredId stored{.scope = scope, .form = form, .id = id(at), .attempt = attempt};
  if (prints.empty()) return stored;
  stored.fingerprint = ByteReader(prints.substr(at * kPrintBytes, kPrintBytes)).TakePrint();
  return stored;
}

void SegmentGroup::Prefetch(std::size_t at) const {
  __builtin_prefetch(ids.data() + at * width);
  if (!prints.empty()) __builtin_prefetch(prints.data() + at * kPrintBytes);
}

void Segment::ForEach(absl::FunctionRef<void(const StoredId&)> visit) const {
  for (const SegmentGroup& group : groups_) {
    for (std::size_t at = 0; at < group.size(); ++at) visit(group[at]);
  }
}

}  // namespace once::stores
