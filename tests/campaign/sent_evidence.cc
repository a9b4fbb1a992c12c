// Lines of outcomes and of records, and a folder that stays.
#include "tests/campaign/sent_evidence.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <stdexcept>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "once/abseil.h"

namespace once::campaign {
namespace {

using ToldByName = std::unordered_map<std::string, const ToldOutcome*>;

ToldByName Index(const std::vector<ToldOutcome>& outcomes) {
  ToldByName told;
  for (const ToldOutcome& outcome : outcomes) told.emplace(outcome.name, &outcome);
  return told;
}

std::string LineOf(const StoredCopy& copy) {
  return absl::StrCat("partition ", copy.partition, " offset ", copy.offset, " ", copy.message.name,
                      " key ", copy.message.key, " number ", copy.message.number, " id ", copy.id,
                      " stamp ", copy.stamp, " time_ms ", copy.time_ms, " leader_epoch ",
                      copy.leader_epoch);
}

void Write(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file) << text;
}

}  // namespace

std::string EncodeOutcome(const ToldOutcome& outcome) {
  return absl::StrCat(outcome.name, " ", outcome.word, " ", outcome.key, " ", outcome.partition,
                      " ", outcome.offset, " ", outcome.sequence, " ", outcome.life, " ",
                      outcome.time_us, " ", outcome.id);
}

std::optional<ToldOutcome> DecodeOutcome(std::string_view line) {
  const std::vector<std::string> words = absl::StrSplit(ToAbsl(line), ' ');
  constexpr std::size_t kWords = 9;
  ToldOutcome told;
  if (words.size() != kWords || !absl::SimpleAtoi(words[3], &told.partition) ||
      !absl::SimpleAtoi(words[4], &told.offset) || !absl::SimpleAtoi(words[5], &told.sequence) ||
      !absl::SimpleAtoi(words[6], &told.life) || !absl::SimpleAtoi(words[7], &told.time_us)) {
    return std::nullopt;
  }
  told.name = words[0];
  told.word = words[1];
  told.key = words[2];
  told.id = words[8];
  return told;
}

std::vector<ToldOutcome> ReadOutcomes(const std::string& file) {
  std::vector<ToldOutcome> outcomes;
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    std::optional<ToldOutcome> told = DecodeOutcome(line);
    if (!told) throw std::runtime_error("no outcome in " + file + ": " + line);
    outcomes.push_back(*std::move(told));
  }
  return outcomes;
}

std::string DescribeMissing(const std::vector<std::string>& missing,
                            const std::vector<ToldOutcome>& outcomes,
                            const std::vector<StoredCopy>& copies) {
  const ToldByName told = Index(outcomes);
  std::map<std::pair<std::int32_t, std::int64_t>, const StoredCopy*> places;
  for (const StoredCopy& copy : copies) places[{copy.partition, copy.offset}] = &copy;
  std::string text;
  for (const std::string& name : missing) {
    const auto found = told.find(name);
    if (found == told.end()) {
      absl::StrAppend(&text, name, ": nobody was told of it\n");
      continue;
    }
    const ToldOutcome& outcome = *found->second;
    absl::StrAppend(&text, name, ": told ", outcome.word, " in life ", outcome.life, " at ",
                    absl::FormatTime(absl::FromUnixMicros(outcome.time_us), absl::UTCTimeZone()),
                    "; key ", outcome.key, ", id ", outcome.id, ", sequence ", outcome.sequence,
                    ", partition ", outcome.partition);
    if (outcome.offset < 0) {
      absl::StrAppend(&text, "; without an offset\n");
      continue;
    }
    const auto there = places.find({outcome.partition, outcome.offset});
    absl::StrAppend(&text, ", offset ", outcome.offset, ", where there is ",
                    there == places.end() ? "nothing" : LineOf(*there->second), "\n");
  }
  return text;
}

std::string DescribeNeighbours(const std::vector<std::string>& missing,
                               const std::vector<ToldOutcome>& outcomes,
                               const std::vector<StoredCopy>& copies) {
  const ToldByName told = Index(outcomes);
  std::set<std::int32_t> partitions;
  bool is_any = false;
  for (const std::string& name : missing) {
    const auto found = told.find(name);
    const std::int32_t partition = found == told.end() ? -1 : found->second->partition;
    is_any = is_any || partition < 0;
    partitions.insert(partition);
  }
  std::string text;
  for (const StoredCopy& copy : copies) {
    if (is_any || partitions.contains(copy.partition)) absl::StrAppend(&text, LineOf(copy), "\n");
  }
  return text;
}

std::string KeepEvidence(const Evidence& evidence) {
  namespace fs = std::filesystem;
  std::string folder = (fs::temp_directory_path() / "once-evidence-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) throw std::runtime_error("no folder " + folder);
  const fs::path path = folder;
  const std::vector<std::string>& missing = evidence.judgement.missing_names;
  const std::vector<StoredCopy>& copies = evidence.truth.copies;
  Write(path / "missing", DescribeMissing(missing, evidence.outcomes, copies));
  Write(path / "records", DescribeNeighbours(missing, evidence.outcomes, copies));
  const auto options = fs::copy_options::recursive | fs::copy_options::overwrite_existing;
  std::error_code ignored;  // what is there is more than nothing
  for (const auto& [from, name] : evidence.copied) fs::copy(from, path / name, options, ignored);
  return folder;
}

}  // namespace once::campaign
