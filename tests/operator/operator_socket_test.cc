// The socket between an operator and the process that has a store open.
#include "once/operator_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/operator/codec.h"
#include "src/operator/local_socket.h"
#include "tests/operator/scripted_operations.h"
#include "tests/scratch_folder.h"

namespace once {
namespace {

// Of a request that a test writes by hand.
std::string RequestStart() {
  return "{\"once_operator\":" + std::to_string(operators::kVersion) + ",";
}

using operators::Descriptor;
using testing::FailureOf;
using ::testing::HasSubstr;
using testing::ScratchFolder;
using testing::ScriptedOperations;

std::unique_ptr<OperatorServer> MustStart(const std::string& path, StoreOperations& operations,
                                          OperatorServerOptions options = {}) {
  auto server = OperatorServer::Start(path, {.operations = operations}, std::move(options));
  EXPECT_TRUE(server.ok()) << server.status();
  return server.ok() ? *std::move(server) : nullptr;
}

// A client without manners.
Descriptor MustConnect(const std::string& path) {
  auto place = operators::FindPlace(path);
  EXPECT_TRUE(place.ok()) << place.status();
  auto connection = operators::ConnectTo(*place);
  EXPECT_TRUE(connection.ok()) << connection.status();
  if (!connection.ok()) return Descriptor();
  ::fcntl(connection->number(), F_SETFL, 0);  // blocking
  return *std::move(connection);
}

// What comes until the end of a line, or of the connection.
std::string ReadLine(const Descriptor& connection) {
  std::string line;
  char byte = 0;
  while (::recv(connection.number(), &byte, 1, 0) == 1 && byte != '\n') line.push_back(byte);
  return line;
}

void SendAll(const Descriptor& connection, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(connection.number(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

TEST(OperatorSocket, CarriesEveryCallThereAndBack) {
  const ScratchFolder folder;
  ScriptedOperations operations;
  operations.positions = {{.key = testing::KeyOf("orders", 1), .stamp = {.position = 12}}};
  operations.failures = {FailureOf(1, testing::AllBytes())};
  operations.ids = {{.scope = "s", .record = {.state = IdState::kUncertain}}};
  const std::string path = folder.File("store.once-socket");
  const auto server = MustStart(path, operations);
  const auto owner = ConnectToOwner(path);
  ASSERT_TRUE(owner.ok()) << owner.status();
  EXPECT_EQ(owner->process, ::getpid());

  const auto positions = owner->operations->ListPositions();
  ASSERT_TRUE(positions.ok()) << positions.status();
  EXPECT_EQ(positions->front().stamp.position, 12);
  const auto failures = owner->operations->FindFailures({});
  ASSERT_TRUE(failures.ok()) << failures.status();
  EXPECT_EQ(failures->front().letter, operations.failures.front().letter);
  const auto ids = owner->operations->FindId("x");
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(ids->front().record.state, IdState::kUncertain);
  EXPECT_TRUE(owner->operations->Discard({.scope = "s", .id = "d"}).ok());
  EXPECT_TRUE(owner->operations->Resolve({.scope = "s", .id = "r"}).ok());
  EXPECT_TRUE(owner->operations->DropLetter(3).ok());
  EXPECT_TRUE(owner->operations->OrderPosition({.position = 8}).ok());
  EXPECT_TRUE(owner->operations->Redrive({.number = 1}).ok());
  EXPECT_THAT(operations.discards, ::testing::ElementsAre(::testing::Pair("s", "d")));
  EXPECT_EQ(operations.redrives.size(), 1);

  operations.changed = absl::NotFoundError("no such letter");
  EXPECT_EQ(owner->operations->DropLetter(4), operations.changed);
}

TEST(OperatorSocket, FetchesAListThatIsLongerThanOneAnswer) {
  const ScratchFolder folder;
  ScriptedOperations operations;
  for (int i = 1; i <= 100; ++i) {
    operations.failures.push_back(FailureOf(i, "id-" + std::to_string(i)));
    operations.failures.back().letter.value = std::string(200'000, 'x');
  }
  const std::string path = folder.File("s");
  const auto server = MustStart(path, operations);
  const auto owner = ConnectToOwner(path);
  ASSERT_TRUE(owner.ok()) << owner.status();
  const auto all = owner->operations->FindFailures({});
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_EQ(all->size(), 100);
  for (int i = 1; i <= 100; ++i) EXPECT_EQ((*all)[static_cast<std::size_t>(i - 1)].number, i);
  const auto some = owner->operations->FindFailures({.after = 20, .letters_max = 70});
  ASSERT_TRUE(some.ok()) << some.status();
  ASSERT_EQ(some->size(), 70);
  EXPECT_EQ(some->front().number, 21);
  EXPECT_EQ(some->back().number, 90);
}

TEST(OperatorSocket, LiesAtAPathThatNoAddressHasRoomFor) {
  const ScratchFolder folder;
  std::string deep = folder.File("d");
  for (int i = 0; i < 8; ++i) {
    ASSERT_EQ(::mkdir(deep.c_str(), 0700), 0);
    deep += "/" + std::string(60, 'd');
  }
  ASSERT_EQ(::mkdir(deep.c_str(), 0700), 0);
  const std::string path = deep + "/" + std::string(240, 'n');
  ScriptedOperations operations;
  {
    const auto server = MustStart(path, operations);
    const auto owner = ConnectToOwner(path);
    EXPECT_TRUE(owner.ok()) << owner.status();
    struct stat status = {};
    ASSERT_EQ(::lstat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600);
  }
  EXPECT_EQ(::access(path.c_str(), F_OK), -1) << "it goes with the server";
}

TEST(OperatorSocket, TakesThePlaceOfADeadProcesssSocket) {
  const ScratchFolder folder;
  const std::string path = folder.File("s");
  {
    // As a killed process leaves it: bound, and nobody listens.
    const Descriptor dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(dead.number(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  EXPECT_EQ(ConnectToOwner(path).status().code(), absl::StatusCode::kUnavailable);
  ScriptedOperations operations;
  const auto server = MustStart(path, operations);
  EXPECT_TRUE(ConnectToOwner(path).ok());
}

TEST(OperatorSocket, SaysWhenThereIsNone) {
  const ScratchFolder folder;
  EXPECT_EQ(ConnectToOwner(folder.File("nothing")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ConnectToOwner(folder.File("no/folder")).status().code(), absl::StatusCode::kNotFound);
  const Descriptor file(::open(folder.File("file").c_str(), O_CREAT | O_RDWR, 0600));
  EXPECT_EQ(ConnectToOwner(folder.File("file")).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(OperatorSocket, ServesOthersWhileClientsHang) {
  const ScratchFolder folder;
  const std::string path = folder.File("s");
  ScriptedOperations operations;
  operations.failures = {FailureOf(1, "id")};
  operations.failures.front().letter.value = std::string(2'000'000, 'x');
  auto server = MustStart(path, operations, {.patience = absl::Minutes(10)});
  std::vector<Descriptor> hanging;
  for (std::size_t i = 0; i < kOperatorClientsMax + 4; ++i) {
    hanging.push_back(MustConnect(path));
    // Some say nothing, some half of it, some never read their answer.
    if (i % 3 == 1) SendAll(hanging.back(), RequestStart());
    if (i % 3 == 2) {
      SendAll(hanging.back(), RequestStart() +
                                  "\"call\":\"find_failures\",\"argument\":{\"after\":0,"
                                  "\"letters_max\":9,\"id\":null,\"scope\":null}}\n");
    }
    EXPECT_TRUE(ConnectToOwner(path).ok()) << "client " << i;
  }
  const absl::Time begin = SystemExecutor()->Now();
  server.reset();
  EXPECT_LT(SystemExecutor()->Now() - begin, absl::Seconds(20)) << "it waits for none of them";
}

TEST(OperatorSocket, EndsClientsWhoseTimeIsOver) {
  const ScratchFolder folder;
  const std::string path = folder.File("s");
  ScriptedOperations operations;
  const auto server = MustStart(path, operations, {.patience = absl::Milliseconds(50)});
  const Descriptor silent = MustConnect(path);
  EXPECT_EQ(ReadLine(silent), "") << "the connection ended";
}

TEST(OperatorSocket, AnswersARequestThatIsTooLong) {
  const ScratchFolder folder;
  const std::string path = folder.File("s");
  ScriptedOperations operations;
  const auto server = MustStart(path, operations, {.patience = absl::Minutes(1)});
  const Descriptor client = MustConnect(path);
  std::thread reader;
  std::string answer;
  reader = std::thread([&] { answer = ReadLine(client); });
  const std::string chunk(1 << 20, 'x');
  for (std::size_t sent = 0; sent <= kOperatorLineBytesMax; sent += chunk.size()) {
    SendAll(client, chunk);
  }
  reader.join();
  EXPECT_THAT(answer, HasSubstr("the request is longer than"));
  EXPECT_TRUE(ConnectToOwner(path).ok()) << "the server goes on";
}

TEST(OperatorSocket, SurvivesRandomBytes) {
  const ScratchFolder folder;
  const std::string path = folder.File("s");
  ScriptedOperations operations;
  const auto server = MustStart(path, operations);
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    const Descriptor client = MustConnect(path);
    std::string bytes;
    for (auto left = random() % 5'000; left > 0; --left) {
      bytes.push_back(static_cast<char>(random()));
    }
    bytes.push_back('\n');
    SendAll(client, bytes);
    if (round % 3 == 0) continue;  // it does not wait for the answer
    EXPECT_THAT(ReadLine(client), HasSubstr("\"error\"")) << "round " << round;
  }
  EXPECT_TRUE(ConnectToOwner(path).ok());
}

TEST(OperatorSocket, AnswersRequestsThatCameTogether) {
  const ScratchFolder folder;
  const std::string path = folder.File("s");
  ScriptedOperations operations;
  const auto server = MustStart(path, operations);
  const Descriptor client = MustConnect(path);
  const std::string greeting = RequestStart() + "\"call\":\"greet\"}\n";
  SendAll(client, greeting + greeting + greeting);
  for (int i = 0; i < 3; ++i) EXPECT_THAT(ReadLine(client), HasSubstr("done"));
}

// Remembers how deep in the stack each call came.
class DepthOperations : public ScriptedOperations {
 public:
  absl::StatusOr<std::vector<StoredPosition>> ListPositions() override {
    ++calls_;
    frames_.insert(__builtin_frame_address(0));
    return ScriptedOperations::ListPositions();
  }
  int calls() const { return calls_; }
  std::size_t depths() const { return frames_.size(); }

 private:
  int calls_ = 0;
  std::set<const void*> frames_;
};

TEST(OperatorSocket, AnswersThousandsOfRequestsThatCameTogetherWithoutBuildingUpAStack) {
  const ScratchFolder folder;
  const std::string path = folder.File("s");
  DepthOperations operations;
  auto server = MustStart(path, operations);
  const Descriptor client = MustConnect(path);
  constexpr int kRequests = 5'000;
  std::string requests;
  for (int i = 0; i < kRequests; ++i) {
    requests += RequestStart() + "\"call\":\"list_positions\"}\n";
  }
  std::thread sender([&] { SendAll(client, requests); });
  int answers = 0;
  while (answers < kRequests && ReadLine(client).find("\"result\"") != std::string::npos) ++answers;
  sender.join();
  server.reset();
  EXPECT_EQ(answers, kRequests);
  EXPECT_EQ(operations.calls(), kRequests);
  EXPECT_LE(operations.depths(), 2U) << "once a request has come, and once an answer has gone";
}

// Holds every call until the test lets it go.
class SlowOperations : public ScriptedOperations {
 public:
  absl::Status Discard(const IdKey& key) override {
    std::unique_lock lock(mutex_);
    is_in_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return is_released_; });
    return ScriptedOperations::Discard(key);
  }
  void AwaitCall() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return is_in_; });
  }
  void Release() {
    const std::lock_guard lock(mutex_);
    is_released_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_in_ = false;
  bool is_released_ = false;
};

TEST(OperatorSocket, LeavesADoubtWhenTheAnswerToAChangeDoesNotCome) {
  const ScratchFolder folder;
  const std::string path = folder.File("s");
  SlowOperations operations;
  auto server = MustStart(path, operations);
  const auto owner = ConnectToOwner(path, {.timeout = absl::Seconds(2)});
  ASSERT_TRUE(owner.ok()) << owner.status();
  const absl::Status discarded = owner->operations->Discard({.scope = "s", .id = "d"});
  EXPECT_EQ(discarded.code(), absl::StatusCode::kUnknown) << discarded;
  EXPECT_THAT(std::string(discarded.message()), HasSubstr("may have been done"));
  // A question in the same state leaves none.
  EXPECT_EQ(ConnectToOwner(path, {.timeout = absl::Milliseconds(50)}).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  operations.Release();
  server.reset();
  EXPECT_EQ(operations.discards.size(), 1) << "it was done all the same";
}

TEST(OperatorSocket, FinishesTheCallAtHandBeforeItGoes) {
  const ScratchFolder folder;
  const std::string path = folder.File("s");
  SlowOperations operations;
  auto server = MustStart(path, operations);
  const auto owner = ConnectToOwner(path);
  ASSERT_TRUE(owner.ok()) << owner.status();
  absl::Status discarded;
  std::thread operator_thread(
      [&] { discarded = owner->operations->Discard({.scope = "s", .id = "d"}); });
  operations.AwaitCall();
  std::thread closing([&] { server.reset(); });
  operations.Release();
  closing.join();
  operator_thread.join();
  EXPECT_TRUE(discarded.ok()) << discarded;
}

// Runs `work` as the user nobody in a child; its exit code.
template <typename Work>
int RunAsNobody(Work work) {
  constexpr uid_t kNobody = 65534;
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setuid(kNobody) != 0) ::_exit(100);
    ::_exit(work());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(OperatorSocket, RefusesAnotherUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  const ScratchFolder folder;
  const std::string path = folder.File("s");
  ScriptedOperations operations;
  const auto server = MustStart(path, operations);
  ASSERT_EQ(::chmod(folder.File("").c_str(), 0755), 0);
  const auto connect = [&] { return static_cast<int>(ConnectToOwner(path).status().code()); };
  EXPECT_EQ(RunAsNobody(connect), static_cast<int>(absl::StatusCode::kPermissionDenied))
      << "by the mode of the socket";
  // Were the mode ever opened, the server itself would still refuse.
  ASSERT_EQ(::chmod(path.c_str(), 0666), 0);
  const auto greet = [&] {
    const Descriptor client = MustConnect(path);
    SendAll(client, RequestStart() + "\"call\":\"greet\"}\n");
    return ReadLine(client).find("run the command as the store owner's user") != std::string::npos
               ? 0
               : 1;
  };
  EXPECT_EQ(RunAsNobody(greet), 0) << "by the credentials of the connection";
  EXPECT_EQ(RunAsNobody(connect), static_cast<int>(absl::StatusCode::kPermissionDenied))
      << "by the client itself";
}

TEST(OperatorSocket, SurvivesTheForkOfItsProcess) {
  const ScratchFolder folder;
  const std::string path = folder.File("s");
  ScriptedOperations operations;
  auto server = MustStart(path, operations);
  const pid_t child = ::fork();
  if (child == 0) {
    server.reset();  // must neither wait for a thread that is not there nor remove the socket
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_TRUE(ConnectToOwner(path).ok());
}

}  // namespace
}  // namespace once
