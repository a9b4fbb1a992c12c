// Where the sending side of an execution meets its consumers.
#include "absl/strings/str_cat.h"
#include "src/testing/producing_side.h"
#include "src/testing/sending_side.h"
#include "src/testing/simulation_run.h"

namespace once::testing {
namespace {

// Where nothing is lost: shorter than most faults last.
constexpr absl::Duration kGapGrace = absl::Milliseconds(100);

}  // namespace

void Simulation::OpenOrigin() {
  const auto deliver = [this](int partition, const ScenarioMessage& message,
                              const OutgoingMessage& stored, bool has_vanished) {
    DeliverSent(partition, message, stored, has_vanished);
  };
  if (scenario_.sending) {
    origin_ = std::make_unique<SendingSide>(scenario_, gate_, checker_, deliver);
  } else if (scenario_.producing) {
    origin_ = std::make_unique<ProducingSide>(scenario_, gate_, checker_, deliver);
  }
}

LossOptions Simulation::LossOptionsOf(const std::shared_ptr<Process>& process) {
  if (scenario_.numbers_messages) return {.mode = LossMode::kReport, .gap_grace = kGapGrace};
  if (origin_ == nullptr) return {};
  return {.mode = LossMode::kReport,
          .gap_grace = MessageOrigin::kGapGrace,
          .marks = origin_->ConnectMarks(process),
          .on_loss = [this, weak = process.get()](const LossEvent& event) {
            origin_->ledger().OnLoss(*weak, event);
          }};
}

// What has vanished has an offset all the same, as the relay was told.
void Simulation::DeliverSent(int partition, const ScenarioMessage& message,
                             const OutgoingMessage& stored, bool has_vanished) {
  last_disturbance_ = scheduler_.Now();
  for (Worker& worker : workers_) worker.rounds = 0;
  if (has_vanished) return log_.SkipOffset(partition);
  const std::int64_t offset =
      log_.Append(partition, {.key = stored.key,
                              .value = stored.value,
                              .headers = stored.headers,
                              .timestamp_ms = absl::ToUnixMillis(scheduler_.Now())});
  truth_[{partition, offset}] = &message;
}

// A consumer cannot pass a record that has vanished from the end of the log before something
// follows it, and what a mark says is only judged behind the mark's own record.
void Simulation::AppendPlugs() {
  if (origin_ == nullptr || !origin_->is_done() || !plugs_.empty()) return;
  plugs_.resize(static_cast<std::size_t>(scenario_.partitions));
  not_appended_ += plugs_.size();
  for (std::size_t i = 0; i < plugs_.size(); ++i) {
    plugs_[i].partition = static_cast<int>(i);
    plugs_[i].id = absl::StrCat("plug-", i);
    Append(plugs_[i]);
  }
}

// All is sent, and what is lost is told. Consumers with plain handlers keep no report.
bool Simulation::HasToldAll() const {
  if (origin_ == nullptr) return true;
  if (!origin_->is_done() || plugs_.empty()) return false;
  return is_plain() || !FindUntold().has_value();
}

std::optional<std::string> Simulation::FindUntold() const {
  std::vector<PartitionKey> partitions;
  for (int i = 0; i < scenario_.partitions; ++i) partitions.push_back(log_.KeyOf(i));
  return origin_->ledger().FindUntold(store().state(), partitions);
}

bool Simulation::FailSending(const std::string& why) {
  if (origin_ == nullptr) return false;
  if (!origin_->is_done()) {
    checker_.Fail(Check::kDrained, absl::StrCat(why, ": ", origin_->Complaint()));
    return true;
  }
  const std::optional<std::string> untold = is_plain() ? std::nullopt : FindUntold();
  if (!untold) return false;
  for (const auto& [place, message] : truth_) {
    // Who has not read everything cannot know.
    if (checker_.OutcomeOf(store().state(), place.first, place.second).empty()) return false;
  }
  checker_.Fail(Check::kLosses, absl::StrCat(why, ": ", *untold));
  return true;
}

void Simulation::CheckSending() {
  if (origin_ == nullptr) return;
  origin_->CheckEnd();
}

}  // namespace once::testing
