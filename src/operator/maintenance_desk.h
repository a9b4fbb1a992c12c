// MaintenanceDesk runs what takes long beside the operators' socket: one job at a time, on a task
// of its own, looked at until it is over. A client that goes away leaves the job running.
// Thread-safety: calls from one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "once/executor.h"
#include "once/maintenance.h"

namespace once::operators {

enum class MaintenanceJob : std::uint8_t { kVerify, kCompact, kBackup };

struct JobRequest {
  MaintenanceJob job = MaintenanceJob::kVerify;
  std::string path;  // kBackup only
};

struct JobState {
  bool is_running = false;
  // Once it is over:
  absl::Status status;
  std::vector<std::string> findings;  // kVerify only
};

class MaintenanceDesk {
 public:
  // `maintenance` may be null, and outlives the desk: then nothing is offered.
  // Jobs are numbered from a number of this desk's own, so that a job of another process that has
  // had the store open since is not taken for one of ours.
  MaintenanceDesk(StoreMaintenance* maintenance, std::shared_ptr<Executor> executor)
      : maintenance_(maintenance),
        executor_(std::move(executor)),
        first_(static_cast<std::int64_t>(SystemRandom()->Next() >> 2)),
        last_(first_) {}
  // Asks the job at hand to give up, and waits for it.
  ~MaintenanceDesk();
  MaintenanceDesk(const MaintenanceDesk&) = delete;
  MaintenanceDesk& operator=(const MaintenanceDesk&) = delete;

  absl::StatusOr<std::vector<StoreFigure>> ReadFigures();
  // The number by which Look() knows it. kFailedPrecondition: another one is running.
  absl::StatusOr<std::int64_t> Start(JobRequest request);
  // kNotFound: another job was begun since.
  absl::StatusOr<JobState> Look(std::int64_t number) const;

 private:
  void Run(const JobRequest& request);

  StoreMaintenance* const maintenance_;
  const std::shared_ptr<Executor> executor_;
  const std::int64_t first_;
  std::int64_t last_;  // number of the last job
  std::stop_source stop_;
  mutable std::mutex mutex_;  // guards state_
  JobState state_;
  std::unique_ptr<Task> task_;  // last: it uses all of the above
};

}  // namespace once::operators
