// What a sending process was told of each message, and what is kept of it for people when one that
// was told as accepted is not there: who was told what, when, of which offset, and what lies in its
// partition instead.
// Pure but for KeepEvidence().
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/campaign/sent_judge.h"

namespace once::campaign {

// One line of the file of outcomes.
struct ToldOutcome {
  std::string name;
  std::string word;  // kWordStored …
  std::string key;
  std::int32_t partition = -1;
  std::int64_t offset = -1;  // that the acknowledgement has carried; -1: none
  std::uint64_t sequence = 0;
  std::int64_t life = 0;     // of the sending process
  std::int64_t time_us = 0;  // since the Unix epoch
  std::string id;

  friend bool operator==(const ToldOutcome&, const ToldOutcome&) = default;
};

std::string EncodeOutcome(const ToldOutcome& outcome);
// nullopt for a line that EncodeOutcome does not give.
std::optional<ToldOutcome> DecodeOutcome(std::string_view line);
// Of a file, in order. Throws where a line is none.
std::vector<ToldOutcome> ReadOutcomes(const std::string& file);

// For each missing message what was told of it, and what the topic has at that offset.
std::string DescribeMissing(const std::vector<std::string>& missing,
                            const std::vector<ToldOutcome>& outcomes,
                            const std::vector<StoredCopy>& copies);
// One line for each record of the partitions that a missing message was told to be in, or, where
// nobody told one, of all.
std::string DescribeNeighbours(const std::vector<std::string>& missing,
                               const std::vector<ToldOutcome>& outcomes,
                               const std::vector<StoredCopy>& copies);

struct Evidence {
  const SentTruth& truth;
  const SentJudgement& judgement;
  const std::vector<ToldOutcome>& outcomes;
  // Files and folders that are copied too, and their names in the folder.
  std::vector<std::pair<std::string, std::string>> copied;
};

// Into a new folder under TMPDIR, which stays; its path.
std::string KeepEvidence(const Evidence& evidence);

}  // namespace once::campaign
