// An Oracle decides everything that is left open in a simulated execution: which fault strikes at a
// seam, which fibre runs next. 0 always means "nothing unusual", so an oracle that answers 0 gives
// the plain execution. The answers of one execution are its choice string; replaying the string
// gives the same execution again.
//
//   SeededOracle       random, a pure function of its seed
//   DepthFirstOracle   every execution within a budget, each exactly once
//   ReplayOracle       the execution of a printed choice string
//
// Thread-safety: none; the simulator runs on one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace once::testing {

// What an answer other than 0 costs. An oracle whose budget of that kind is spent answers 0, and
// such a question is no choice: it is not part of the string.
enum class Cost : std::uint8_t {
  kFree,        // both answers are ordinary, e.g. which of two runnable fibres goes on
  kFault,       // something breaks
  kPreemption,  // a fibre that could go on loses the processor
};

struct Budget {
  int faults = 0;
  int preemptions = 0;

  friend bool operator==(const Budget&, const Budget&) = default;
};

class Oracle {
 public:
  explicit Oracle(Budget budget) : budget_(budget), left_(budget) {}
  Oracle(const Oracle&) = delete;
  Oracle& operator=(const Oracle&) = delete;
  virtual ~Oracle() = default;

  // A number in [0, choices). REQUIRES: 1 <= choices <= 64.
  int Choose(std::string_view tag, int choices, Cost cost = Cost::kFree);

  // Mixes a fact of the execution (a seam, a result) into trace_hash().
  void Trace(std::uint64_t fact) { hash_ = (hash_ ^ fact) * 0x9E3779B97F4A7C15u ^ (hash_ >> 29); }
  void Trace(std::string_view fact);

  // No fault and no preemption from now on.
  void Quiet() { left_ = {}; }
  bool is_quiet() const { return left_.faults == 0 && left_.preemptions == 0; }

  // Equal for two executions that asked the same questions and traced the same facts.
  std::uint64_t trace_hash() const { return hash_; }
  const Budget& budget() const { return budget_; }
  int faults_used() const { return faults_used_; }
  int preemptions_used() const { return preemptions_used_; }

  // The answers so far. "f2p1/12.3/45.1" = a budget of 2 faults and 1 preemption; 12 zeros, then 3;
  // 45 zeros, then 1; then zeros for ever.
  std::string ChoiceString() const;
  const std::vector<std::uint8_t>& choices() const { return choices_; }

 protected:
  // The answer; called only for questions with a choice.
  virtual int Pick(std::string_view tag, int choices, Cost cost) = 0;

  // Before the next execution.
  void Reset();

 private:
  Budget budget_;
  Budget left_;
  int faults_used_ = 0;
  int preemptions_used_ = 0;
  std::uint64_t hash_ = 0xCBF29CE484222325u;
  std::vector<std::uint8_t> choices_;
};

// A fast generator with good statistics (SplitMix64); the same on every platform, unlike
// std::uniform_int_distribution.
class SplitMix {
 public:
  explicit SplitMix(std::uint64_t seed) : state_(seed) {}
  std::uint64_t Next();
  // In [0, bound). REQUIRES: bound >= 1.
  int Below(int bound) { return static_cast<int>(Next() % static_cast<std::uint64_t>(bound)); }
  bool OneIn(int n) { return Below(n) == 0; }

 private:
  std::uint64_t state_;
};

// How often a SeededOracle deviates, in 1/1000 per question.
struct DeviationRates {
  int fault = 20;
  int preemption = 50;
};

class SeededOracle : public Oracle {
 public:
  SeededOracle(std::uint64_t seed, Budget budget, DeviationRates rates)
      : Oracle(budget), random_(seed), rates_(rates) {}

 protected:
  int Pick(std::string_view tag, int choices, Cost cost) override;

 private:
  SplitMix random_;
  DeviationRates rates_;
};

// Enumerates the tree of choices depth first, by running every execution from its start with the
// next prefix.
//
//   DepthFirstOracle oracle({.faults = 2, .preemptions = 1});
//   do { Run(oracle); } while (oracle.Advance());
//
// REQUIRES: the execution is a pure function of the answers.
class DepthFirstOracle : public Oracle {
 public:
  explicit DepthFirstOracle(Budget budget) : Oracle(budget) {}

  // Prepares the next execution; false when there is none left.
  bool Advance();

  // False when an execution asked another question than its predecessor with the same prefix: it
  // depends on something else than the answers, and the enumeration means nothing.
  bool is_deterministic() const { return is_deterministic_; }

 protected:
  int Pick(std::string_view tag, int choices, Cost cost) override;

 private:
  struct Branch {
    std::uint8_t choice;
    std::uint8_t choices;
    std::uint16_t tag;  // hash
  };
  std::vector<Branch> path_;
  std::size_t depth_ = 0;
  bool is_deterministic_ = true;
};

struct ChoiceList {
  Budget budget;
  std::vector<std::uint8_t> choices;
};

// kInvalidArgument for a string that ChoiceString() never prints.
absl::StatusOr<ChoiceList> ParseChoices(std::string_view text);

class ReplayOracle : public Oracle {
 public:
  explicit ReplayOracle(ChoiceList list) : Oracle(list.budget), answers_(std::move(list.choices)) {}

 protected:
  int Pick(std::string_view tag, int choices, Cost cost) override;

 private:
  std::vector<std::uint8_t> answers_;
  std::size_t next_ = 0;
};

}  // namespace once::testing
