// A complaint has the end of the log of those who died.
#include "tests/campaign/outbox_kills.h"

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/campaign/unsettled.h"

namespace once::campaign {

OutboxKills::OutboxKills(std::string label, std::int64_t wanted, const OutboxTask& task,
                         CampaignReport& report)
    : label_(std::move(label)), wanted_(wanted), task_(task), report_(report) {}

bool OutboxKills::NoteDeath(int status) {
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
    Complain(absl::StrCat("a life ended by itself, with wait status ", status));
    return false;
  }
  ++killed_;
  if (killed_ % 10 == 0) Say(absl::StrCat(label_, ": ", killed_, " of ", wanted_, " kills"));
  return true;
}

bool OutboxKills::JudgeLastLife(std::optional<int> status) {
  if (status == 0) return true;
  Complain(status ? absl::StrCat("the last life ended with wait status ", *status)
                  : "not everything is published in time");
  return false;
}

void OutboxKills::Complain(const std::string& what) {
  report_.violations.push_back(
      absl::StrCat(label_, ", after ", killed_, " kills: ", what, "\n", TailOf(task_.log)));
}

std::int64_t CountAnswered(const OutboxTask& task) {
  std::ifstream lines(task.answered);
  return static_cast<std::int64_t>(
      std::count(std::istreambuf_iterator<char>(lines), std::istreambuf_iterator<char>(), '\n'));
}

}  // namespace once::campaign
