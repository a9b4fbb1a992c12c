// OutboxKills counts what has died in one attack of outbox-kill, and says what went wrong in it.
// Thread-safety: none.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tests/campaign/campaign.h"
#include "tests/campaign/outbox_process.h"

namespace once::campaign {

class OutboxKills {
 public:
  // The processes are those of `task`. It and `report` outlive this.
  OutboxKills(std::string label, std::int64_t wanted, const OutboxTask& task,
              CampaignReport& report);

  bool is_done() const { return killed_ >= wanted_; }
  std::int64_t killed() const { return killed_; }

  // Of a life that was to die, by its wait status. False: it has not; that is a violation.
  bool NoteDeath(int status);
  // Of one that was to publish what is left, and end; nullopt: it has not ended in time. False:
  // that is a violation.
  bool JudgeLastLife(std::optional<int> status);
  void Complain(const std::string& what);

 private:
  const std::string label_;
  const std::int64_t wanted_;
  const OutboxTask& task_;
  CampaignReport& report_;
  std::int64_t killed_ = 0;
};

// How many rows of the task were answered as committed.
std::int64_t CountAnswered(const OutboxTask& task);

}  // namespace once::campaign
