// A Scene is one topic full of a workload, one consumer group, and the lives of the processes that
// consume it one after the other, each with a history of its own. At the end it reads the truth
// from the systems and judges. Whatever makes a campaign impossible throws std::runtime_error.
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "adapters/kafka/tests/kafka_test_broker.h"
#include "tests/campaign/campaign.h"
#include "tests/campaign/checker.h"
#include "tests/campaign/consumer_task.h"
#include "tests/campaign/workload.h"
#include "tests/integration/child.h"
#include "tests/scratch_folder.h"

namespace once::campaign {

// How a life ended that was to go on until everything is settled.
enum class LifeEnd : std::uint8_t {
  kDrained,  // the group's offsets are at the end of the log, and it stopped as it should
  kStopped,  // it stopped as it should, before that
  kKilled,   // by SIGKILL
  kStuck,    // it was not settled, or did not stop, within the patience
  kFailed    // it ended otherwise
};

// How long a life may take to settle everything, wherever there is no reason for another time. An
// offset that got lost on its way to the broker is told again only after a minute without traffic,
// on a machine that is busy with other things besides.
inline constexpr absl::Duration kSettlePatience = absl::Minutes(3);

class Scene {
 public:
  // Creates and fills the topic. `task` says how to consume; where and with which store is the
  // scene's to fill in, except that a store "memory" stays.
  Scene(std::string_view campaign, const std::string& brokers, const Workload& workload,
        ConsumerTask task);
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;
  ~Scene();

  ConsumerTask& task() { return task_; }  // of the next life

  // The next process, once it may be asked to stop, or has died before.
  std::unique_ptr<testing::Child> StartLife(const testing::Environment& environment = {});
  // Waits until all is settled, asks it to stop, and sees it end. Throws when it could not begin.
  LifeEnd Drain(testing::Child& child, absl::Duration patience);
  // A life without any attack.
  LifeEnd DrainOnce(absl::Duration patience = kSettlePatience);
  // Of the last Drain(): why everything is not settled, with what the systems, the engine's log and
  // the history say of it, over several lines. Empty: it drained, or was killed.
  const std::string& trouble() const { return trouble_; }

  // REQUIRES in all of these: no process is alive.
  Truth ReadTruth();
  std::map<std::int32_t, PartitionTruth> ReadPartitions();
  // Judges, and adds figures, findings and witnesses to `report`. False when anything is wrong.
  bool Judge(CampaignReport& report, const std::string& label);
  // Without witnesses and report.
  Judgement JudgeQuietly();

  // The redriven messages come on top of what was produced.
  void ExpectMore(std::int64_t messages) { expected_ += messages; }
  // The store lost commits that it had answered.
  void NoteRollback() { is_rolled_back_ = true; }
  kafka::testing::TestBroker& broker() { return broker_; }
  const Workload& workload() const { return workload_; }
  const std::vector<std::string>& histories() const { return histories_; }

 private:
  // The scene's store, in this process. No child begins meanwhile: it would keep the file's lock.
  struct OpenStore {
    std::shared_lock<std::shared_mutex> no_fork;
    std::shared_ptr<DedupStore> store;
  };

  // nullopt: the broker does not say.
  std::optional<bool> AskIfDrained();
  bool IsDrained();
  OpenStore Open() const;
  // Ends it, and keeps what there is to say.
  LifeEnd GiveUp(testing::Child& child, const std::string& why);
  void NoteTrouble(const std::string& why);

  const std::string campaign_;
  const Workload workload_;
  const testing::ScratchFolder folder_;
  kafka::testing::TestBroker broker_;
  ConsumerTask task_;
  std::int64_t expected_ = 0;  // messages in the topic
  bool is_rolled_back_ = false;
  std::vector<std::string> histories_;
  std::string trouble_;
};

// Judges `truth`, and adds figures, findings and witnesses to `report`. False when anything is
// wrong.
bool AddJudgement(const Truth& truth, const std::vector<std::string>& histories,
                  const std::string& label, CampaignReport& report);

}  // namespace once::campaign
