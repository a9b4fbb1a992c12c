// Sorted runs as bytes: a page, a manifest and an open row that can be read are what would be
// written, and a run of which a byte is damaged refuses or answers what it should.
#include "src/stores/id_log/sorted_run.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "src/stores/id_log/checksum.h"
#include "src/stores/id_log/id_source.h"
#include "src/stores/id_log/manifest.h"
#include "src/stores/id_log/open_rows.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/id_log/fake_segment_storage.h"

namespace once::testing {
namespace {

using stores::PackedId;
using stores::PageAddress;
using stores::RunEntry;
using stores::StoredId;

constexpr PageAddress kPage = {.run = 3, .page = 4};
constexpr IdKey kKey = {.scope = "scope", .id = "id"};
constexpr std::uint64_t kManifestSeed = 0x6D616E6966657374;
constexpr std::size_t kIdsMax = 200;

void CheckPage(std::string_view bytes) {
  const auto page = stores::RunPage::Read(kPage, std::string(bytes));
  if (!page.ok()) return;
  stores::PageWriter writer(stores::kPageBytesMax);
  page->ForEach([&](const RunEntry& entry) {
    Require(writer.Add(entry), "what was on a page fits on a page");
    const auto found = page->Find(entry.key);
    Require(found && found->fingerprint == entry.fingerprint && found->attempt == entry.attempt,
            "an id on a page is found there");
  });
  Require(writer.Finish(kPage) == bytes, "a page that can be read is what it is written as");
}

void CheckBytes(std::string_view bytes) {
  CheckPage(bytes);
  const auto manifest = stores::DecodeManifest(bytes);
  Require(!manifest.ok() || stores::EncodeManifest(*manifest) == bytes,
          "a manifest that can be read is what it is written as");
  const auto row = stores::DecodeOpenRow(kKey, bytes);
  Require(!row.ok() || stores::EncodeOpenRow(kKey, row->record, row->extra) == bytes,
          "an open row that can be read is what it is written as");
}

std::string Sealed(std::string_view content, std::uint64_t seed) {
  std::string bytes(content);
  stores::AppendChecksum(bytes, seed);
  return bytes;
}

void CheckRun(FuzzInput& input) {
  const std::size_t damaged_page = input.TakeBelow(100);
  const std::size_t damaged_byte = input.TakeBelow(1000);
  const auto damage = input.Take<std::uint8_t>();
  std::map<std::string, std::uint16_t> known;
  while (!input.is_empty() && known.size() < kIdsMax) {
    std::string id(input.TakeText().substr(0, kMessageIdBytesMax));
    if (id.empty()) id = std::to_string(known.size());
    known[id] = input.Take<std::uint8_t>();
  }
  if (known.empty()) return;
  std::vector<PackedId> packed;
  std::vector<StoredId> ids;
  packed.reserve(known.size());
  for (const auto& [id, attempt] : known) {
    packed.push_back(stores::Pack(id));
    ids.push_back({.scope = "s",
                   .form = packed.back().form,
                   .id = packed.back().bytes(),
                   .attempt = attempt});
  }
  std::sort(ids.begin(), ids.end(),
            [](const StoredId& a, const StoredId& b) { return stores::CompareIds(a, b) < 0; });
  stores::RunWriter writer(1, ids.size(), stores::kPageBytesMin, 8);
  for (const StoredId& id : ids) writer.Add(id);
  writer.Finish();
  stores::FakeSegmentStorage storage;
  Require(storage.WritePages(1, 0, writer.TakePages()).ok(), "a fake storage takes pages");
  auto& pages = storage.disk().pages;
  auto page = std::next(pages.begin(), static_cast<std::ptrdiff_t>(damaged_page % pages.size()));
  char& byte = page->second[damaged_byte % page->second.size()];
  byte = static_cast<char>(byte ^ damage);

  const auto run = stores::SortedRun::Open(writer.info(), storage);
  Require(run.ok() || (damage != 0 && absl::IsDataLoss(run.status())), "a whole run is opened");
  if (!run.ok()) return;
  std::vector<IdKey> keys;
  std::vector<std::uint64_t> hashes;
  for (const auto& [id, attempt] : known) {
    keys.push_back({.scope = "s", .id = id});
    hashes.push_back(stores::StableHashOf(keys.back()));
  }
  std::vector<IdRecord> records(keys.size());
  stores::IdQuery query{.keys = keys, .hashes = hashes, .records = records};
  query.pending.resize(keys.size());
  std::iota(query.pending.begin(), query.pending.end(), 0);
  const absl::Status found = (*run)->Find(hashes, storage, query);
  Require(found.ok() == (damage == 0), "a run is refused if, and only if, it is damaged");
  if (!found.ok()) return;
  Require(query.pending.empty(), "an id of a run is found in it");
  std::size_t i = 0;
  for (const auto& [id, attempt] : known) {
    Require(records[i++].attempt == attempt, "an id comes back as it was added");
  }
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  const auto content_of = [](std::string bytes) {
    return bytes.substr(0, bytes.size() - stores::kChecksumBytes);
  };
  stores::PageWriter writer(stores::kPageBytesMax);
  writer.Add({.key = {.form = stores::IdForm::kRaw, .id = "id"}, .attempt = 1});
  writer.Add({.key = {.form = stores::IdForm::kRaw, .id = "ie"}, .attempt = 2});
  writer.Add({.key = {.form = stores::IdForm::kHexLower, .id = "packed"},
              .fingerprint = {.high = 1, .low = 2}});
  stores::Manifest manifest{.first_segment = 3, .next_run = 2};
  manifest.runs = {{.number = 1,
                    .first_segment = 1,
                    .last_segment = 2,
                    .ids = 1,
                    .id_pages = 1,
                    .index_pages = 1,
                    .filter_pages = 1}};
  SeedWriter run;
  run.Put<std::uint32_t>(0).Put<std::uint32_t>(9).Put<std::uint8_t>(0);
  for (int i = 0; i < 60; ++i) run.PutText("order-" + std::to_string(i)).Put<std::uint8_t>(1);
  SeedWriter damaged_run;
  damaged_run.Put<std::uint32_t>(1).Put<std::uint32_t>(9).Put<std::uint8_t>(4);
  for (int i = 0; i < 60; ++i) damaged_run.PutText("o" + std::to_string(i)).Put<std::uint8_t>(1);
  return {content_of(writer.Finish(kPage)), content_of(stores::EncodeManifest(manifest)),
          content_of(stores::EncodeOpenRow(kKey, {.state = IdState::kDead, .attempt = 3}, "extra")),
          run.seed(), damaged_run.seed()};
}

}  // namespace once::testing

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace testing = once::testing;
  testing::FuzzInput input(data, size);
  testing::CheckBytes(input.rest());
  // Nobody guesses a checksum: what comes behind it would never be tried.
  testing::CheckBytes(testing::Sealed(input.rest(), testing::kPage.seed()));
  testing::CheckBytes(testing::Sealed(input.rest(), testing::kManifestSeed));
  testing::CheckBytes(testing::Sealed(input.rest(), once::stores::StableHashOf(testing::kKey)));
  testing::CheckRun(input);
  return 0;
}
