// One execution of a scenario: simulation.cc drives its workers, simulation_end.cc judges what has
// become of its messages.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "once/testing/simulation.h"
#include "src/testing/history_log.h"
#include "src/testing/message_origin.h"

namespace once::testing {

// One execution.
class Simulation {
 public:
  Simulation(const Scenario& scenario, Oracle& oracle, bool is_recording);
  Report Run();

 private:
  struct Worker {
    int index = 0;
    Drive drive = Drive::kStep;
    int incarnations = 0;
    int stop_after = 0;   // 0: no graceful stop, or it has been
    int rounds = 0;       // since the last fault
    int idle_rounds = 0;  // since there was nothing left to do
    std::shared_ptr<Process> process;
    std::stop_source stop;
    const Subject* subject = nullptr;
  };

  void AppendMessages(const std::vector<ScenarioMessage>& messages);
  void Append(const ScenarioMessage& message);
  std::uint64_t NumberOf(const ScenarioMessage& message);
  void DriveWorker(Worker& worker);
  void DriveSteps(Worker& worker, Subject& subject);
  void Monitor();
  void AfterRound(Worker& worker);
  void CheckStop(const Worker& worker, const absl::Status& status);
  void CheckLetters();
  void CheckLetterOrder();
  void CheckStats();
  void HearOfGap(const ToldGap& gap);
  bool IsTold(int partition, std::int64_t offset) const;
  bool HasGap() const;
  void CheckGap();
  bool IsIdle() const;
  bool IsRefused() const;
  void CheckProgress();
  void FailDrained(const std::string& why);
  void EndAct();
  void Finish();
  // kSafety: true when the world has gone on for long enough, and is cut off.
  bool CutOff();
  // Nothing but a want of space went wrong: that is to be waited out.
  bool HasOnlyLackedSpace() const;
  void CheckGivenUp(const Worker& worker, const absl::Status& status);
  void CheckAtEnd();
  void WaitForTurn();
  void TurnWorld();
  void DeleteBefore(int partition, std::int64_t first);
  const Act* act() const;
  bool is_plain() const { return scenario_.handler == HandlerKind::kPlain; }
  void CleanUp(FiberScheduler::End end);
  void CheckOutcomes();
  bool IsExcused(const ScenarioMessage& message, const std::string& outcome) const;
  bool IsRightAfterDeaths(const ScenarioMessage& message, const std::string& outcome) const;
  SubjectParts MakeParts(Worker& worker);
  FakeStore& store() { return *stores_.back(); }
  const FakeStore& store() const { return *stores_.back(); }
  std::unique_ptr<FakeStore> NewStore(std::string id);

  // simulation_sending.cc
  void OpenOrigin();
  LossOptions LossOptionsOf(const std::shared_ptr<Process>& process);
  void DeliverSent(int partition, const ScenarioMessage& message, const OutgoingMessage& stored,
                   bool has_vanished);
  // Once all is sent.
  void AppendPlugs();
  bool HasToldAll() const;
  // What the consumers' report does not say as it is.
  std::optional<std::string> FindUntold() const;
  // The sending side has its part in what does not move any more.
  bool FailSending(const std::string& why);
  void CheckSending();

  // simulation_handler.cc
  Outcome Handle(Process& process, const Message& message, Transaction& transaction);
  Outcome HandlePlain(Process& process, const Message& message);
  Reconciled Reconcile(const Message& message) const;
  // True when the process is dead now.
  bool DiesOf(const ScenarioMessage& message, Process& process);
  Outcome Answer(const ScenarioMessage& message, int invocation) const;
  bool CheckHandled(const Message& message);
  const ScenarioMessage* Truth(const Message& message) const;
  std::string Complaints() const;

  const Scenario& scenario_;
  Oracle& oracle_;
  InvariantChecker checker_;
  FiberScheduler scheduler_;
  SeamGate gate_;
  FakeLog log_;
  std::vector<std::unique_ptr<FakeStore>> stores_;  // the last one is in use
  std::optional<FakeQueue> queue_;
  FakeTopics topics_;
  std::unique_ptr<MessageOrigin> origin_;  // null: messages lie in the log
  std::vector<ScenarioMessage> plugs_;
  std::vector<Worker> workers_;
  std::map<std::pair<int, std::int64_t>, const ScenarioMessage*> truth_;
  std::map<std::string, int> invocations_;
  std::map<std::string, int> deaths_;     // of processes, by the message that killed them
  std::map<int, std::uint64_t> numbers_;  // by partition, the last one given
  std::map<std::string, std::uint64_t> numbers_by_id_;
  std::size_t not_appended_ = 0;
  std::size_t acts_ = 0;  // of the sequel, that have begun
  bool is_turning_ = false;
  std::size_t waiting_ = 0;  // workers that have left for the turn
  Condition turned_;
  bool is_over_ = false;
  bool is_cut_off_ = false;
  absl::Time begin_;
  bool has_stats_ = false;
  ConsumerStats counted_;                        // by all workers together
  std::set<std::pair<int, std::int64_t>> owed_;  // deleted: handled before, or told
  std::vector<ToldGap> told_;                    // by what workers log
  int restarts_ = 0;
  int faults_seen_ = 0;
  int deaths_seen_ = 0;
  absl::Time last_disturbance_;
};

}  // namespace once::testing
