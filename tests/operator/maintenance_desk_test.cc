// Long jobs beside the operators' socket, and through it.
#include "src/operator/maintenance_desk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

#include "once/operator_socket.h"
#include "tests/operator/scripted_operations.h"
#include "tests/scratch_folder.h"

namespace once::operators {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ScratchFolder;
using testing::ScriptedOperations;

// Its jobs wait until they are let go, or told to stop.
class ScriptedMaintenance : public StoreMaintenance {
 public:
  absl::StatusOr<std::vector<StoreFigure>> ReadFigures() override {
    return std::vector<StoreFigure>{{"ids_count", 3}, {"file_bytes", -1}};
  }
  absl::StatusOr<std::vector<std::string>> Verify(const std::stop_token& stop) override {
    if (absl::Status waited = Wait(stop); !waited.ok()) return waited;
    return std::vector<std::string>{"page 7", "page 9"};
  }
  absl::Status Compact(const std::stop_token& stop) override { return Wait(stop); }
  absl::Status Backup(const std::string& path, const std::stop_token&) override {
    return absl::AlreadyExistsError(path);
  }

  void LetGo() {
    const std::lock_guard lock(mutex_);
    may_end_ = true;
    changed_.notify_all();
  }

 private:
  absl::Status Wait(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    const bool has_ended = changed_.wait(lock, stop, [this] { return may_end_; });
    return has_ended ? absl::OkStatus() : absl::CancelledError("stopped");
  }

  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool may_end_ = false;
};

TEST(MaintenanceDesk, RunsOneJobAtATime) {
  ScriptedMaintenance maintenance;
  MaintenanceDesk desk(&maintenance, SystemExecutor());
  EXPECT_EQ(desk.Look(0).status().code(), absl::StatusCode::kNotFound);
  const auto number = desk.Start({.job = MaintenanceJob::kCompact, .path = ""});
  ASSERT_TRUE(number.ok()) << number.status();
  EXPECT_TRUE(desk.Look(*number)->is_running);
  const auto second = desk.Start({.job = MaintenanceJob::kVerify, .path = ""});
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("wait for its end"));
  maintenance.LetGo();
  while (desk.Look(*number)->is_running) {
  }
  EXPECT_TRUE(desk.Look(*number)->status.ok());
  EXPECT_TRUE(desk.Start({.job = MaintenanceJob::kVerify, .path = ""}).ok());
  EXPECT_EQ(desk.Look(*number).status().code(), absl::StatusCode::kNotFound);
}

TEST(MaintenanceDesk, AsksTheJobAtHandToStopWhenItGoes) {
  ScriptedMaintenance maintenance;
  auto desk = std::make_unique<MaintenanceDesk>(&maintenance, SystemExecutor());
  ASSERT_TRUE(desk->Start({.job = MaintenanceJob::kVerify, .path = ""}).ok());
  desk.reset();  // or the test would never end
}

TEST(MaintenanceDesk, OffersNothingForAStoreThatOffersNothing) {
  MaintenanceDesk desk(nullptr, SystemExecutor());
  EXPECT_EQ(desk.ReadFigures().status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(desk.Start({}).status().code(), absl::StatusCode::kUnimplemented);
}

TEST(MaintenanceDesk, IsReachedThroughTheSocket) {
  const ScratchFolder folder;
  const std::string path = folder.File("s");
  ScriptedOperations operations;
  ScriptedMaintenance maintenance;
  maintenance.LetGo();
  const auto server =
      OperatorServer::Start(path, {.operations = operations, .maintenance = &maintenance});
  ASSERT_TRUE(server.ok()) << server.status();
  const auto owner = ConnectToOwner(path);
  ASSERT_TRUE(owner.ok()) << owner.status();
  EXPECT_THAT(*owner->maintenance->ReadFigures(),
              ElementsAre(StoreFigure{"ids_count", 3}, StoreFigure{"file_bytes", -1}));
  EXPECT_THAT(*owner->maintenance->Verify({}), ElementsAre("page 7", "page 9"));
  EXPECT_TRUE(owner->maintenance->Compact({}).ok());
  const absl::Status made = owner->maintenance->Backup(testing::AllBytes(), {});
  EXPECT_EQ(made.code(), absl::StatusCode::kAlreadyExists) << made;
}

TEST(MaintenanceDesk, ACallerThatGivesUpLeavesTheJobRunningAtTheOwner) {
  const ScratchFolder folder;
  const std::string path = folder.File("s");
  ScriptedOperations operations;
  ScriptedMaintenance maintenance;
  const auto server =
      OperatorServer::Start(path, {.operations = operations, .maintenance = &maintenance});
  ASSERT_TRUE(server.ok()) << server.status();
  const auto owner = ConnectToOwner(path);
  ASSERT_TRUE(owner.ok()) << owner.status();
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(owner->maintenance->Compact(stop.get_token()).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(owner->maintenance->Compact({}).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(owner->operations->ListPositions().ok()) << "a job holds nobody else up";
  maintenance.LetGo();
}

}  // namespace
}  // namespace once::operators
