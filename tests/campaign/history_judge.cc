// One sweep over all calls that matter for "acknowledged", in the order of time; the rest as it is
// read.
#include "tests/campaign/history_judge.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/claims.h"
#include "tests/campaign/history.h"
#include "tests/campaign/workload.h"

namespace once::campaign {
namespace {

using CallKey = std::pair<std::int64_t, std::int64_t>;  // process and number of the invoke

// What is known at a time about what may be acknowledged.
struct Step {
  enum class Kind : std::uint8_t {
    kAcknowledged,  // `at` is about to be committed to the broker
    kStored,        // transactions: the store holds the position `at`
    kTold,          // claims: the outcome of `ids` is recorded, and not synced
    kKnown,         // claims: the store knows an outcome of `ids`
    kSyncBegins,    // claims
    kSynced         // claims
  };

  std::int64_t time = 0;
  Kind kind = Kind::kAcknowledged;
  CallKey call;
  std::vector<std::pair<std::int32_t, std::int64_t>> at;
  std::vector<std::string> ids;
};

// Transactions: the highest position that the store is known to hold in each partition.
class StoredPositions {
 public:
  void See(const Step& step) {
    for (const auto& [partition, offset] : step.at) {
      settled_[partition] = std::max(settled_[partition], offset);
    }
  }
  std::int64_t SettledIn(std::int32_t partition) { return settled_[partition]; }

 private:
  std::map<std::int32_t, std::int64_t> settled_;
};

// Claims: in each partition, the first message whose id has no durable outcome. A message without
// id is not recorded by its id; whether its letter is out, the end shows.
class SettledIds {
 public:
  explicit SettledIds(const Truth& truth) {
    for (const Delivery& delivery : truth.deliveries) {
      partitions_[delivery.partition].deliveries.push_back(&delivery);
    }
  }

  void See(const Step& step) {
    switch (step.kind) {
      case Step::Kind::kTold:
        told_.insert(told_.end(), step.ids.begin(), step.ids.end());
        break;
      case Step::Kind::kKnown:
        settled_.insert(step.ids.begin(), step.ids.end());
        break;
      case Step::Kind::kSyncBegins:
        syncing_[step.call] = told_.size();
        break;
      case Step::Kind::kSynced:
        for (const std::size_t end = syncing_[step.call]; synced_ < end; ++synced_) {
          settled_.insert(told_[synced_]);
        }
        break;
      case Step::Kind::kAcknowledged:
      case Step::Kind::kStored:
        break;
    }
  }

  std::int64_t SettledIn(std::int32_t partition) {
    Reading& reading = partitions_[partition];
    while (reading.next < reading.deliveries.size()) {
      const Delivery& delivery = *reading.deliveries[reading.next];
      if (!delivery.id.empty() && !settled_.contains(delivery.id)) return delivery.offset;
      ++reading.next;
    }
    return reading.deliveries.empty() ? 0 : reading.deliveries.back()->offset + 1;
  }

 private:
  struct Reading {
    std::vector<const Delivery*> deliveries;  // ascending offsets
    std::size_t next = 0;
  };

  std::map<std::int32_t, Reading> partitions_;
  std::vector<std::string> told_;
  std::size_t synced_ = 0;  // of told_
  std::map<CallKey, std::size_t> syncing_;
  std::unordered_set<std::string> settled_;
};

// Verdicts that say that the id is settled already.
bool IsSettled(int verdict) {
  static const std::set<ClaimVerdict>* const settled = new std::set<ClaimVerdict>{
      ClaimVerdict::kDuplicate, ClaimVerdict::kConflict, ClaimVerdict::kDead,
      ClaimVerdict::kDiscarded, ClaimVerdict::kUncertain};
  return settled->contains(static_cast<ClaimVerdict>(verdict));
}

class HistoryJudge {
 public:
  HistoryJudge(const Truth& truth, Judgement& judgement) : truth_(truth), judgement_(judgement) {}

  void See(const HistoryEvent& event) {
    const bool is_invoke = event.how == "invoke";
    if (event.call == "handle") return SeeHandle(event, is_invoke);
    if (event.call == "stats") judgement_.fenced += event.details.value("fenced", std::int64_t{0});
    if (event.how == "fail" && event.call == "begin") ++judgement_.refused;
    if (!is_invoke && event.details.is_object()) {
      judgement_.refused += event.details.value("lost", std::int64_t{0});
    }
    if (is_invoke) {
      SeeInvoke(event);
    } else {
      SeeEnd(event);
    }
  }

  void Finish() {
    std::stable_sort(steps_.begin(), steps_.end(),
                     [](const Step& a, const Step& b) { return a.time < b.time; });
    if (is_plain()) {
      Sweep(SettledIds(truth_));
    } else {
      Sweep(StoredPositions());
    }
  }

 private:
  bool is_plain() const { return truth_.handler == HandlerKind::kPlain; }

  void SeeInvoke(const HistoryEvent& event) {
    if (event.call == "hint" || event.call == "verify") {
      Note(Step::Kind::kAcknowledged, event, event.details);
    } else if (event.call == "sync") {
      Note(Step::Kind::kSyncBegins, event, {});
    } else if (event.call == "commit" || event.call == "claim" || IsOutcome(event.call)) {
      open_[{event.process, event.sequence}] = event.details;
    }
  }

  // What was asked of the store is there when it says so. A call without an end has died with its
  // process; whoever comes next learns by a take, or by a claim, what became of it.
  void SeeEnd(const HistoryEvent& event) {
    const auto call = open_.extract({event.process, event.of});
    if (event.call == "take") Note(Step::Kind::kStored, event, event.details);
    if (event.call == "commit" && call && event.how != "fail") {
      Note(Step::Kind::kStored, event, call.mapped());
    }
    if (event.how != "ok") return;
    if (event.call == "sync") Note(Step::Kind::kSynced, event, {});
    if (IsOutcome(event.call) && call) Note(Step::Kind::kTold, event, call.mapped());
    if (event.call != "claim" || !call || !event.details.is_object()) return;
    nlohmann::json known = nlohmann::json::array();
    const auto& ids = call.mapped().at("ids");
    const auto& verdicts = event.details.at("verdicts");
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (IsSettled(verdicts.at(i))) known.push_back(ids.at(i));
    }
    Note(Step::Kind::kKnown, event, {{"ids", known}});
  }

  static bool IsOutcome(const std::string& call) {
    return call == "complete" || call == "kill" || call == "discard";
  }

  void Note(Step::Kind kind, const HistoryEvent& event, const nlohmann::json& details) {
    const bool is_end = event.how != "invoke";
    Step step{.time = event.time,
              .kind = kind,
              .call = {event.process, is_end ? event.of : event.sequence}};
    if (details.is_object()) {
      step.at = details.value("at", decltype(step.at)());
      step.ids = details.value("ids", decltype(step.ids)());
    }
    steps_.push_back(std::move(step));
  }

  template <typename Settled>
  void Sweep(Settled settled) {
    for (const Step& step : steps_) {
      if (step.kind != Step::Kind::kAcknowledged) {
        settled.See(step);
        continue;
      }
      for (const auto& [partition, offset] : step.at) {
        const std::int64_t known = settled.SettledIn(partition);
        if (offset <= known) continue;
        judgement_.findings.push_back(
            {.what = absl::StrCat("acknowledged: offset ", offset,
                                  " was committed to the broker when the store had settled ", known,
                                  ", partition ", partition),
             .partition = partition,
             .offset = known});
      }
    }
  }

  void SeeHandle(const HistoryEvent& event, bool is_invoke) {
    if (!is_invoke) {
      running_.erase({event.process, event.of});
      return;
    }
    ++judgement_.invocations;
    const std::string id = event.details.at("ids").at(0);
    const bool is_repeated = event.details.at("repeated");
    const Finding finding{.id = id,
                          .partition = event.details.at("at").at(0).at(0),
                          .offset = event.details.at("at").at(0).at(1)};
    const auto find = [&](std::string what) {
      judgement_.findings.push_back(finding);
      judgement_.findings.back().what = std::move(what);
    };
    const int attempt = event.details.at("attempt");
    if (attempt > kAttemptsMax) find(absl::StrCat("attempts: attempt ", attempt, " of ", id));
    if (is_plain() && truth_.is_store_durable && !is_repeated && WasCutOff(event.process, id)) {
      find(absl::StrCat("announced: an invocation of ", id,
                        " was cut off, and the next one was not told"));
    }
    running_.emplace(CallKey(event.process, event.sequence), id);
  }

  // An invocation in a process before this one has no end, and none has come after it.
  bool WasCutOff(std::int64_t process, const std::string& id) {
    bool was_cut_off = false;
    for (auto running = running_.begin(); running != running_.end();) {
      const bool is_former = running->first.first != process && running->second == id;
      was_cut_off = was_cut_off || is_former;
      running = is_former ? running_.erase(running) : std::next(running);
    }
    return was_cut_off;
  }

  const Truth& truth_;
  Judgement& judgement_;
  std::vector<Step> steps_;
  std::map<CallKey, std::string> running_;  // handlers without an end so far, and the id
  std::map<CallKey, nlohmann::json> open_;  // calls of the store without an end so far
};

}  // namespace

void JudgeHistories(const Truth& truth, const std::vector<std::string>& histories,
                    Judgement& judgement) {
  HistoryJudge judge(truth, judgement);
  ReadHistory(histories, [&](const HistoryEvent& event) { judge.See(event); });
  judge.Finish();
}

}  // namespace once::campaign
