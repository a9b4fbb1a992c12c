// One job, one task, one state.
#include "src/operator/maintenance_desk.h"

#include <exception>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"

namespace once::operators {
namespace {

absl::Status NothingOffered() {
  return absl::UnimplementedError("the store offers no figures, checks or copies of itself");
}

}  // namespace

MaintenanceDesk::~MaintenanceDesk() { stop_.request_stop(); }

absl::StatusOr<std::vector<StoreFigure>> MaintenanceDesk::ReadFigures() {
  if (maintenance_ == nullptr) return NothingOffered();
  return maintenance_->ReadFigures();
}

absl::StatusOr<std::int64_t> MaintenanceDesk::Start(JobRequest request) {
  if (maintenance_ == nullptr) return NothingOffered();
  {
    const std::lock_guard lock(mutex_);
    if (state_.is_running) {
      return absl::FailedPreconditionError(
          "another check, compaction or backup of this store is running; wait for its end");
    }
    state_ = {.is_running = true, .status = absl::OkStatus(), .findings = {}};
  }
  task_.reset();  // over, or its state would say that it is running
  try {
    task_ =
        executor_->Spawn("once-maintain", [this, request = std::move(request)] { Run(request); });
  } catch (const std::exception& error) {  // no thread, no memory
    const std::lock_guard lock(mutex_);
    state_ = {};
    return absl::ResourceExhaustedError(
        absl::StrCat("the owner of the store cannot begin it: ", error.what()));
  }
  return ++last_;
}

void MaintenanceDesk::Run(const JobRequest& request) {
  JobState end;
  try {
    if (request.job == MaintenanceJob::kVerify) {
      auto findings = maintenance_->Verify(stop_.get_token());
      end.status = findings.status();
      if (findings.ok()) end.findings = *std::move(findings);
    } else if (request.job == MaintenanceJob::kCompact) {
      end.status = maintenance_->Compact(stop_.get_token());
    } else {
      end.status = maintenance_->Backup(request.path, stop_.get_token());
    }
  } catch (const std::bad_alloc&) {  // an operator's wish is no reason to end the consumer
    end = {.status = absl::ResourceExhaustedError("the owner is out of memory"), .findings = {}};
  }
  const std::lock_guard lock(mutex_);
  state_ = std::move(end);
}

absl::StatusOr<JobState> MaintenanceDesk::Look(std::int64_t number) const {
  if (number != last_ || number == first_) {
    return absl::NotFoundError("the job is not the last one that was begun; ask for it again");
  }
  const std::lock_guard lock(mutex_);
  return state_;
}

}  // namespace once::operators
