// Source of the messages: PostgreSQL's documentation, "Message Formats".
#include "adapters/postgres/tests/fake_pooler.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "adapters/postgres/tests/unix_socket.h"

namespace once::postgres::testing {
namespace {

constexpr int kPollMilliseconds = 20;
constexpr std::size_t kHead = 5;  // a type, and a length that counts itself

std::string ReadSome(int socket) {
  std::string bytes(65536, '\0');
  const ssize_t size = read(socket, bytes.data(), bytes.size());
  bytes.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return bytes;
}

}  // namespace

FakePooler::FakePooler(const std::string& server_folder, PoolMode mode, bool drops_options)
    : server_path_(SocketIn(server_folder)), mode_(mode), drops_options_(drops_options) {
  listener_ = ListenAt(SocketIn(folder_.path()));
  thread_ = std::thread([this] { Run(); });
}

FakePooler::~FakePooler() {
  is_stopping_ = true;
  thread_.join();
  for (const Client& client : clients_) {
    close(client.socket);
    if (client.server >= 0) close(client.server);
  }
  for (const int server : free_) close(server);
  close(listener_);
}

void FakePooler::Run() {
  while (!is_stopping_) {
    std::vector<pollfd> waiting = {{.fd = listener_, .events = POLLIN, .revents = 0}};
    for (const Client& client : clients_) {
      waiting.push_back({.fd = client.socket, .events = POLLIN, .revents = 0});
      waiting.push_back({.fd = client.server, .events = POLLIN, .revents = 0});
    }
    if (poll(waiting.data(), waiting.size(), kPollMilliseconds) <= 0) continue;
    std::size_t at = 1;
    for (Client& client : clients_) {
      const bool client_spoke = waiting[at++].revents != 0;
      const bool server_spoke = waiting[at++].revents != 0;
      if (server_spoke) ReadServer(client);
      if (client_spoke && !client.is_over) ReadClient(client);
      if (!client.is_over) continue;
      close(client.socket);
      if (client.server >= 0) close(client.server);
    }
    clients_.remove_if([](const Client& client) { return client.is_over; });
    if (waiting[0].revents != 0) {
      clients_.push_back({.socket = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)});
    }
  }
}

void FakePooler::ReadClient(Client& client) {
  std::string bytes = ReadSome(client.socket);
  // Names and values follow each other: they become a setting that means nothing.
  const std::size_t options = client.has_started ? bytes.npos : bytes.find("options");
  if (drops_options_ && options != bytes.npos) bytes.replace(options, 7, "once.no");
  // 'X': it goes.
  client.is_over = bytes.empty() || (client.has_started && bytes[0] == 'X');
  if (client.is_over) return;
  if (client.server < 0 && client.has_started && !free_.empty()) {
    client.server = free_.back();
    free_.pop_back();
  }
  if (client.server < 0) client.server = ConnectTo(server_path_);
  client.has_started = true;
  client.is_over = client.server < 0 || !SendAll(client.server, bytes);
}

std::string FakePooler::TakeMessage(Client& client) {
  std::string& bytes = client.unread;
  if (bytes.size() < kHead) return {};
  std::uint32_t length = 0;
  for (std::size_t i = 1; i < kHead; ++i)
    length = length << 8 | static_cast<unsigned char>(bytes[i]);
  if (bytes.size() < length + 1) return {};
  std::string message = bytes.substr(0, length + 1);
  bytes.erase(0, message.size());
  // BackendKeyData: the number of a process that nobody has, and what cancels.
  if (message[0] == 'K') message[kHead] = 0x7f;
  return message;
}

void FakePooler::ReadServer(Client& client) {
  const std::string bytes = ReadSome(client.server);
  client.is_over = bytes.empty();
  client.unread += bytes;
  for (std::string message = TakeMessage(client); !message.empty() && !client.is_over;
       message = TakeMessage(client)) {
    client.is_over = !SendAll(client.socket, message);
    // ReadyForQuery outside any transaction.
    if (mode_ == PoolMode::kTransaction && message[0] == 'Z' && message[kHead] == 'I') {
      free_.push_back(std::exchange(client.server, -1));
      return;
    }
  }
}

}  // namespace once::postgres::testing
