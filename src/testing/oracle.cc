// Budgets, choice strings, and the three ways to answer.
#include "once/testing/oracle.h"

#include <algorithm>
#include <cassert>
#include <charconv>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"

namespace once::testing {
namespace {

std::uint64_t HashText(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return hash;
}

// Takes "<number>" off the front of `text`.
bool TakeNumber(std::string_view& text, int& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

bool TakeLetter(std::string_view& text, char letter) {
  if (text.empty() || text.front() != letter) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

int Oracle::Choose(std::string_view tag, int choices, Cost cost) {
  assert(choices >= 1 && choices <= 64);
  if (choices == 1) return 0;
  if (cost == Cost::kFault && left_.faults == 0) return 0;
  if (cost == Cost::kPreemption && left_.preemptions == 0) return 0;
  const int choice = Pick(tag, choices, cost);
  assert(choice >= 0 && choice < choices);
  choices_.push_back(static_cast<std::uint8_t>(choice));
  Trace(HashText(tag) + static_cast<std::uint64_t>(choice));
  if (choice == 0) return 0;
  if (cost == Cost::kFault) {
    --left_.faults;
    ++faults_used_;
  }
  if (cost == Cost::kPreemption) {
    --left_.preemptions;
    ++preemptions_used_;
  }
  return choice;
}

void Oracle::Trace(std::string_view fact) { Trace(HashText(fact)); }

void Oracle::Reset() {
  left_ = budget_;
  faults_used_ = 0;
  preemptions_used_ = 0;
  hash_ = 0xCBF29CE484222325u;
  choices_.clear();
}

std::string Oracle::ChoiceString() const {
  std::string text = absl::StrCat("f", budget_.faults, "p", budget_.preemptions);
  int zeros = 0;
  for (const std::uint8_t choice : choices_) {
    if (choice == 0) {
      ++zeros;
      continue;
    }
    absl::StrAppend(&text, "/", zeros, ".", static_cast<int>(choice));
    zeros = 0;
  }
  return text;
}

std::uint64_t SplitMix::Next() {
  state_ += 0x9E3779B97F4A7C15u;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

int SeededOracle::Pick(std::string_view /*tag*/, int choices, Cost cost) {
  const std::uint64_t draw = random_.Next();
  const int other = 1 + static_cast<int>((draw >> 32) % static_cast<std::uint64_t>(choices - 1));
  const int permille = static_cast<int>((draw & 0xFFFFFFFFu) % 1000);
  switch (cost) {
    case Cost::kFault:
      return permille < rates_.fault ? other : 0;
    case Cost::kPreemption:
      return permille < rates_.preemption ? other : 0;
    case Cost::kFree:
      break;
  }
  return static_cast<int>((draw >> 32) % static_cast<std::uint64_t>(choices));
}

bool DepthFirstOracle::Advance() {
  // Questions of the prefix that were not asked this time: the execution was not deterministic.
  if (depth_ < path_.size()) is_deterministic_ = false;
  path_.resize(std::min(depth_, path_.size()));
  while (!path_.empty() && path_.back().choice + 1 == path_.back().choices) path_.pop_back();
  depth_ = 0;
  Reset();
  if (path_.empty()) return false;
  ++path_.back().choice;
  return true;
}

int DepthFirstOracle::Pick(std::string_view tag, int choices, Cost /*cost*/) {
  const auto tag_hash = static_cast<std::uint16_t>(HashText(tag));
  if (depth_ == path_.size()) {
    path_.push_back({.choice = 0, .choices = static_cast<std::uint8_t>(choices), .tag = tag_hash});
  } else if (path_[depth_].choices != choices || path_[depth_].tag != tag_hash) {
    is_deterministic_ = false;
    path_.resize(depth_);
    path_.push_back({.choice = 0, .choices = static_cast<std::uint8_t>(choices), .tag = tag_hash});
  }
  return path_[depth_++].choice;
}

absl::StatusOr<ChoiceList> ParseChoices(std::string_view text) {
  const std::string_view whole = text;
  constexpr std::size_t kChoicesMax = 1'000'000;  // no execution asks so many questions
  ChoiceList list;
  bool is_valid = TakeLetter(text, 'f') && TakeNumber(text, list.budget.faults) &&
                  TakeLetter(text, 'p') && TakeNumber(text, list.budget.preemptions);
  while (is_valid && !text.empty()) {
    int zeros = 0;
    int choice = 0;
    is_valid = TakeLetter(text, '/') && TakeNumber(text, zeros) && TakeLetter(text, '.') &&
               TakeNumber(text, choice) && choice >= 1 && choice < 64 &&
               list.choices.size() + static_cast<std::size_t>(zeros) < kChoicesMax;
    if (!is_valid) break;
    list.choices.insert(list.choices.end(), static_cast<std::size_t>(zeros), 0);
    list.choices.push_back(static_cast<std::uint8_t>(choice));
  }
  if (is_valid) return list;
  return absl::InvalidArgumentError(absl::StrCat(
      "not a choice string (f<faults>p<preemptions>/<zeros>.<choice>…): ", ToAbsl(whole)));
}

int ReplayOracle::Pick(std::string_view /*tag*/, int choices, Cost /*cost*/) {
  if (next_ >= answers_.size()) return 0;
  // A string of another version of the code may name a choice that is no longer there.
  return std::min<int>(answers_[next_++], choices - 1);
}

}  // namespace once::testing
