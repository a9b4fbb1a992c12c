// First copies, further copies, and what is missing.
#include "tests/campaign/sent_judge.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "once/abseil.h"
#include "once/sequence.h"

namespace once::campaign {
namespace {

// One cause has many victims.
constexpr std::int64_t kShownOfAKind = 3;

std::string Describe(const StoredCopy& copy) {
  return absl::StrCat(copy.message.name, " (", copy.message.key, " ", copy.message.number,
                      ", partition ", copy.partition, ", offset ", copy.offset, ", ", copy.stamp,
                      ")");
}

class Comparison {
 public:
  explicit Comparison(const SentTruth& truth) : truth_(truth) {}

  SentJudgement Judge() {
    for (const StoredCopy& copy : truth_.copies) See(copy);
    for (const auto& [name, fate] : truth_.fates) {
      if (fate == Fate::kStored && !first_.contains(name)) {
        judgement_.missing_names.push_back(name);
      }
    }
    std::sort(judgement_.missing_names.begin(), judgement_.missing_names.end());
    for (const std::string& name : judgement_.missing_names) {
      Count(judgement_.missing, name + " is not in the topic");
    }
    for (const auto& [stream, numbers] : numbers_) SeeNumbers(stream, numbers);
    judgement_.stored = static_cast<std::int64_t>(first_.size());
    return std::move(judgement_);
  }

 private:
  void Count(std::int64_t& counter, const std::string& finding) {
    if (++counter <= kShownOfAKind) judgement_.findings.push_back(finding);
  }

  void See(const StoredCopy& copy) {
    SeeStamp(copy);
    const auto [first, is_new] = first_.try_emplace(copy.message.name, &copy);
    if (!is_new) {
      SeeRepeat(*first->second, copy);
      return;
    }
    const auto fate = truth_.fates.find(copy.message.name);
    const bool is_known = fate != truth_.fates.end();
    if (is_known ? fate->second == Fate::kNotStored : truth_.is_complete) {
      Count(judgement_.surplus, "must not be in the topic: " + Describe(copy));
    }
    const auto [last, is_first] = last_of_key_.try_emplace(copy.message.key, &copy);
    if (is_first) return;
    if (copy.partition != last->second->partition ||
        copy.message.number <= last->second->message.number) {
      Count(judgement_.order_inversions,
            "out of order: " + Describe(copy) + " comes behind " + Describe(*last->second));
    }
    last->second = &copy;
  }

  void SeeRepeat(const StoredCopy& first, const StoredCopy& copy) {
    ++judgement_.repeats;
    if (copy.id != first.id || copy.id.empty()) {
      Count(judgement_.unlike_ids,
            absl::StrCat("its ids are ", first.id, " and ", copy.id, ": ", Describe(copy)));
    }
    if (copy.stamp == first.stamp) return;
    if (truth_.may_be_renumbered) {
      ++judgement_.renumbered;
    } else {
      Count(judgement_.renumbered, "two numbers: " + Describe(first) + " and " + Describe(copy));
    }
  }

  void SeeStamp(const StoredCopy& copy) {
    const auto stamp = DecodeStamp(copy.stamp, truth_.topic, copy.partition);
    if (!stamp) {
      Count(judgement_.numbers_reused, "without a number of its stream: " + Describe(copy));
      return;
    }
    numbers_[std::string(stamp->stream)].insert(stamp->sequence);
    const auto [named, is_new] = by_stamp_.try_emplace(copy.stamp, &copy);
    if (!is_new && named->second->message.name != copy.message.name) {
      Count(judgement_.numbers_reused,
            "one number: " + Describe(*named->second) + " and " + Describe(copy));
    }
  }

  void SeeNumbers(const std::string& stream, const std::set<std::uint64_t>& numbers) {
    const auto missing = static_cast<std::int64_t>(*numbers.rbegin() - numbers.size());
    if (missing == 0) return;
    judgement_.numbers_missing += missing;
    if (truth_.may_have_gaps) return;
    judgement_.findings.push_back(absl::StrCat(
        "of stream ", stream, " ", missing, " numbers below ", *numbers.rbegin(), " are missing"));
  }

  const SentTruth& truth_;
  SentJudgement judgement_;
  std::unordered_map<std::string, const StoredCopy*> first_;        // by name
  std::unordered_map<std::string, const StoredCopy*> last_of_key_;  // first copies, by key
  std::unordered_map<std::string, const StoredCopy*> by_stamp_;
  std::map<std::string, std::set<std::uint64_t>> numbers_;  // by stream
};

}  // namespace

std::string EncodeSent(const SentMessage& message) {
  return absl::StrCat(message.key, " ", message.number, " ", message.name);
}

std::optional<SentMessage> DecodeSent(std::string_view value) {
  const std::vector<std::string> words = absl::StrSplit(ToAbsl(value), ' ');
  SentMessage message;
  if (words.size() != 3 || !absl::SimpleAtoi(words[1], &message.number)) return std::nullopt;
  message.key = words[0];
  message.name = words[2];
  return message;
}

SentJudgement JudgeSent(const SentTruth& truth) { return Comparison(truth).Judge(); }

}  // namespace once::campaign
