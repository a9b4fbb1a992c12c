// Source of the messages: PostgreSQL's documentation, "Message Formats".
#include "adapters/postgres/tests/wire_proxy.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "adapters/postgres/tests/unix_socket.h"

namespace once::postgres::testing {
namespace {

constexpr int kPollMilliseconds = 20;

std::uint32_t LengthAt(const std::string& bytes, std::size_t at) {
  std::uint32_t length = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    length = length << 8 | static_cast<unsigned char>(bytes[at + i]);
  }
  return length;
}

}  // namespace

WireProxy::WireProxy(const std::string& server_folder, std::function<void()> end_sessions)
    : server_path_(SocketIn(server_folder)), end_sessions_(std::move(end_sessions)) {
  listener_ = ListenAt(SocketIn(folder_.path()));
  thread_ = std::thread([this] { Run(); });
}

WireProxy::~WireProxy() {
  is_stopping_ = true;
  thread_.join();
  for (Link& link : links_) Close(link);
  for (const int server : unnoticed_) close(server);
  close(listener_);
}

void WireProxy::Close(Link& link) {
  close(link.client);
  if (link.server >= 0) close(link.server);
}

void WireProxy::Run() {
  while (!is_stopping_) {
    std::vector<pollfd> waiting = {{.fd = listener_, .events = POLLIN, .revents = 0}};
    for (const Link& link : links_) {
      waiting.push_back({.fd = link.client, .events = POLLIN, .revents = 0});
      waiting.push_back({.fd = link.server, .events = POLLIN, .revents = 0});
    }
    if (poll(waiting.data(), waiting.size(), kPollMilliseconds) <= 0) continue;
    std::size_t at = 1;
    for (Link& link : links_) {
      const bool client_spoke = waiting[at++].revents != 0;
      const bool server_spoke = waiting[at++].revents != 0;
      if (server_spoke) ReadServer(link);
      if (client_spoke && !link.is_over) ReadClient(link);
      if (link.is_over) Close(link);
    }
    links_.remove_if([](const Link& link) { return link.is_over; });
    if (waiting[0].revents != 0) Accept();
  }
}

void WireProxy::Accept() {
  Link link;
  link.client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  link.server = ConnectTo(server_path_);
  if (link.server < 0) return Close(link);
  links_.push_back(std::move(link));
}

bool WireProxy::TakeMessages(Link& link) {
  bool commits = false;
  for (;;) {
    std::string& bytes = link.unread;
    const std::size_t head = link.has_started ? 1 : 0;
    if (bytes.size() < head + 4) return commits;
    const std::size_t size = head + LengthAt(bytes, head);
    if (bytes.size() < size) return commits;
    if (link.has_started) {
      // P: name, query. B: portal, name of the statement.
      const std::string first = bytes.c_str() + 5;
      const std::string second = bytes.c_str() + 5 + first.size() + 1;
      if (bytes[0] == 'P') link.statements[first] = second;
      if (bytes[0] == 'B') {
        const std::string& sql = link.statements[second];
        commits = commits || sql == "COMMIT";
        const std::lock_guard lock(watch_mutex_);
        if (watch_) watch_(sql);
      }
    }
    link.has_started = true;
    bytes.erase(0, size);
  }
}

void WireProxy::ReadClient(Link& link) {
  char buffer[65536];
  const ssize_t size = read(link.client, buffer, sizeof(buffer));
  if (size <= 0) {
    link.is_over = true;
    return;
  }
  link.unread.append(buffer, static_cast<std::size_t>(size));
  const Cut cut = TakeMessages(link) ? cut_.exchange(Cut::kNone) : Cut::kNone;
  if (cut == Cut::kBeforeCommit) {
    link.is_over = true;
    return;
  }
  if (cut == Cut::kUnnoticed) {
    unnoticed_.push_back(std::exchange(link.server, -1));
    link.is_over = true;
    return;
  }
  if (cut == Cut::kByServerAtCommit) end_sessions_();
  if (cut == Cut::kAfterCommit) link.is_mute = true;
  if (!SendAll(link.server, {buffer, static_cast<std::size_t>(size)})) {
    // What the server has said before it went is for the client all the same.
    ReadServer(link);
  }
}

void WireProxy::ReadServer(Link& link) {
  char buffer[65536];
  const ssize_t size = read(link.server, buffer, sizeof(buffer));
  if (size <= 0 || link.is_mute ||
      !SendAll(link.client, {buffer, static_cast<std::size_t>(size)})) {
    link.is_over = true;
  }
}

}  // namespace once::postgres::testing
