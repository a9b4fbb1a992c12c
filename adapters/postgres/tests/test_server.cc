// Processes, and SQL beside the store.
#include "adapters/postgres/tests/test_server.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <random>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>

namespace once::postgres::testing {
namespace {

namespace fs = std::filesystem;

std::string Setting(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

class Skipping final : public ::testing::Environment {
 public:
  void SetUp() override {
    if (!Setting("ONCE_TEST_POSTGRES").empty()) return;
    if (Setting("CI") == "true") FAIL() << "ONCE_TEST_POSTGRES is not set, and this is CI";
    // ctest knows by this line that nothing was tested: of tests that an environment skips
    // GoogleTest says that they have passed.
    std::cout << "[  SKIPPED ] all tests of this program" << std::endl;
    GTEST_SKIP() << "ONCE_TEST_POSTGRES is not set; ./dev test starts a server";
  }
};
[[maybe_unused]] ::testing::Environment* const kSkipping =
    ::testing::AddGlobalTestEnvironment(new Skipping);

std::vector<pid_t> ChildrenOf(pid_t parent) {
  std::vector<pid_t> children;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const pid_t pid = std::atoi(entry.path().filename().c_str());
    // "42 (name) S 41 …": the fourth is the parent. Names of servers have no parentheses.
    std::ifstream file(entry.path() / "stat");
    std::string line;
    if (pid == 0 || !std::getline(file, line)) continue;
    const std::size_t name_end = line.rfind(')');
    if (name_end == line.npos || name_end + 4 >= line.size()) continue;
    if (std::atoi(line.c_str() + name_end + 4) == parent) children.push_back(pid);
  }
  return children;
}

struct User {
  uid_t user = 0;
  gid_t group = 0;
};

// A server refuses to be root's. Null: we are not. Looked up once: getpwnam() is not for threads.
const User* FindUser() {
  static const auto* const found = []() -> const User* {
    if (geteuid() != 0) return nullptr;
    const passwd* const entry = getpwnam("postgres");
    if (entry == nullptr) throw std::runtime_error("there is no user postgres");
    return new User{.user = entry->pw_uid, .group = entry->pw_gid};
  }();
  return found;
}

void GiveToPostgres(const fs::path& root) {
  const User* const user = FindUser();
  if (user == nullptr) return;
  const auto give = [&](const fs::path& path) {
    if (chown(path.c_str(), user->user, user->group) != 0) {
      throw std::runtime_error("chown " + path.string());
    }
  };
  give(root);
  for (const auto& entry : fs::recursive_directory_iterator(root)) give(entry.path());
}

}  // namespace

SqlRows RunSql(const std::string& connection, const std::string& sql) {
  const std::unique_ptr<PGconn, void (*)(PGconn*)> session(PQconnectdb(connection.c_str()),
                                                           PQfinish);
  const std::unique_ptr<PGresult, void (*)(PGresult*)> result(PQexec(session.get(), sql.c_str()),
                                                              PQclear);
  const ExecStatusType status = PQresultStatus(result.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
    throw std::runtime_error(sql + ": " + PQerrorMessage(session.get()));
  }
  SqlRows rows(static_cast<std::size_t>(PQntuples(result.get())));
  for (int row = 0; row < PQntuples(result.get()); ++row) {
    for (int column = 0; column < PQnfields(result.get()); ++column) {
      rows[static_cast<std::size_t>(row)].emplace_back(PQgetvalue(result.get(), row, column));
    }
  }
  return rows;
}

std::string SharedServer() { return Setting("ONCE_TEST_POSTGRES"); }

std::string NewSchemaName() {
  static std::atomic<int> count = 0;
  return "t" + std::to_string(getpid()) + "_" + std::to_string(std::random_device()()) + "_" +
         std::to_string(++count);
}

TestSchema::TestSchema(std::string connection)
    : connection_(std::move(connection)), name_(NewSchemaName()) {
  RunSql(connection_, "CREATE SCHEMA " + name_ + "_handler; CREATE TABLE " + effects() +
                          "(number bigserial PRIMARY KEY, body bytea NOT NULL)");
}

TestSchema::~TestSchema() {
  try {
    EndSessions();
    RunSql(connection_, "SET client_min_messages TO error; DROP SCHEMA IF EXISTS " + name_ + ", " +
                            name_ + "_handler CASCADE");
  } catch (const std::runtime_error&) {
    // Of a server that the test has killed.
  }
}

void TestSchema::EndSessions() const {
  const std::string ours =
      " FROM pg_stat_activity WHERE application_name LIKE 'once:" + name_ + ":%'";
  while (!RunSql(connection_, "SELECT pg_terminate_backend(pid)" + ours).empty()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

PrivateServer::PrivateServer(const std::string& settings,
                             const std::function<void(const std::string&)>& prepare) {
  const std::string template_folder = Setting("ONCE_TEST_POSTGRES_TEMPLATE");
  if (template_folder.empty()) {
    throw std::runtime_error("ONCE_TEST_POSTGRES_TEMPLATE is not set; ./dev test sets it");
  }
  if (const auto at = settings.find("port = "); at != settings.npos) {
    port_ = std::to_string(std::atoi(settings.c_str() + at + 7));
  }
  fs::copy(template_folder, File("data"), fs::copy_options::recursive);
  std::ofstream(File("data") + "/postgresql.conf", std::ios::app)
      << "\nlisten_addresses = ''\nunix_socket_permissions = 0700\nunix_socket_directories = '"
      << folder_.path()
      << "'\nshared_buffers = 16MB\nmax_connections = 50\nlog_min_messages = fatal\n"
      << "log_min_error_statement = panic\n"
      << "recovery_init_sync_method = syncfs\n"
      << settings << "\n";
  fs::permissions(File("data"), fs::perms::owner_all);
  if (prepare) prepare(folder_.path());
  fs::permissions(folder_.path(), fs::perms::owner_all | fs::perms::group_exec |
                                      fs::perms::others_exec | fs::perms::others_read);
  GiveToPostgres(folder_.path());
  Start();
}

PrivateServer::~PrivateServer() {
  if (pid_ != 0) LosePower();
}

void PrivateServer::Start() {
  const std::string program = Setting("ONCE_TEST_POSTGRES_PROGRAMS") + "/postgres";
  const std::string data = File("data");
  const std::string log = File("log");
  const User* const user = FindUser();
  const int log_file = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  for (int attempt = 0; attempt < 100; ++attempt) {
    const pid_t parent = getpid();
    pid_ = fork();
    if (pid_ == 0) {
      // Other threads may hold any lock there is: nothing here takes one.
      if (user != nullptr && (setgid(user->group) != 0 || setuid(user->user) != 0)) _exit(126);
      prctl(PR_SET_PDEATHSIG, SIGQUIT);
      if (getppid() != parent) _exit(0);
      dup2(log_file, STDERR_FILENO);
      execl(program.c_str(), program.c_str(), "-D", data.c_str(), nullptr);
      _exit(127);
    }
    for (;;) {
      int status = 0;
      // What a former server left behind may still be going away.
      if (waitpid(pid_, &status, WNOHANG) == pid_) break;
      if (PQping(connection().c_str()) == PQPING_OK) {
        close(log_file);
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    pid_ = 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  close(log_file);
  std::ifstream said(log);
  throw std::runtime_error("the server does not start: " +
                           std::string(std::istreambuf_iterator<char>(said), {}));
}

void PrivateServer::Wait() {
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = 0;
}

void PrivateServer::LosePower() {
  kill(pid_, SIGQUIT);
  Wait();
}

void PrivateServer::Kill() {
  // Its children would finish what they are at before they notice.
  const std::vector<pid_t> children = ChildrenOf(pid_);
  kill(pid_, SIGKILL);
  for (const pid_t child : children) kill(child, SIGKILL);
  Wait();
}

void PrivateServer::KeepCopy() {
  LosePower();
  fs::copy(File("data"), File("copy"), fs::copy_options::recursive);
  Start();
}

void PrivateServer::ReturnToCopy() {
  LosePower();
  fs::remove_all(File("data"));
  fs::rename(File("copy"), File("data"));
  fs::permissions(File("data"), fs::perms::owner_all);
  GiveToPostgres(File("data"));
  Start();
}

void PrivateServer::BecomeStandby() {
  LosePower();
  std::ofstream(File("data") + "/standby.signal").flush();
  GiveToPostgres(File("data"));
  Start();
}

void PrivateServer::Promote() { RunSql(connection(), "SELECT pg_promote(true, 60)"); }

}  // namespace once::postgres::testing
