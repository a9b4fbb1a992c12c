// One thread, one poll() over all connections. What is passed on is small: sockets take it whole.
#include "adapters/redis/tests/cut_proxy.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace once::redis::testing {
namespace {

constexpr int kPollMilliseconds = 5;
constexpr std::string_view kScriptRun = "EVALSHA";

// Of a path, or of a port.
struct SocketAddress {
  explicit SocketAddress(const std::string& place) {
    if (place.starts_with('/')) {
      if (place.size() >= sizeof path.sun_path) {
        throw std::runtime_error("proxy: too long: " + place);
      }
      path.sun_family = AF_UNIX;
      std::memcpy(path.sun_path, place.data(), place.size());
    } else {
      port.sin_family = AF_INET;
      port.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      port.sin_port = htons(static_cast<std::uint16_t>(std::stoi(place)));
    }
  }

  bool is_path() const { return path.sun_family == AF_UNIX; }
  const sockaddr* get() const {
    return is_path() ? reinterpret_cast<const sockaddr*>(&path)
                     : reinterpret_cast<const sockaddr*>(&port);
  }
  socklen_t size() const { return is_path() ? sizeof path : sizeof port; }
  int NewSocket() const {
    const int made = socket(get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made < 0) throw std::runtime_error("proxy: socket");
    return made;
  }

  sockaddr_un path = {};
  sockaddr_in port = {};
};

// Empty when the connection is over.
std::string Receive(int from) {
  std::array<char, 65536> part{};
  const ssize_t size = recv(from, part.data(), part.size(), 0);
  return size > 0 ? std::string(part.data(), static_cast<std::size_t>(size)) : "";
}

bool Send(int to, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t size = send(to, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (size <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(size));
  }
  return true;
}

bool IsReadable(const pollfd& ready) { return (ready.revents & (POLLIN | POLLHUP | POLLERR)) != 0; }

}  // namespace

CutProxy::CutProxy(std::string own_place, std::string server_place, std::shared_ptr<Arms> arms)
    : place_(std::move(own_place)), server_place_(std::move(server_place)), arms_(std::move(arms)) {
  const SocketAddress address(place_);
  listener_ = address.NewSocket();
  const int on = 1;
  setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener_, address.get(), address.size()) != 0 || listen(listener_, 64) != 0) {
    throw std::runtime_error("proxy: listen on " + place_);
  }
  thread_ = std::jthread([this](const std::stop_token& stop) { Work(stop); });
}

CutProxy::~CutProxy() {
  thread_.request_stop();
  thread_.join();
  close(listener_);
  if (SocketAddress(place_).is_path()) unlink(place_.c_str());
}

void CutProxy::Arm(Cut cut) {
  const std::lock_guard lock(arms_->mutex);
  arms_->cut = cut;
}

void CutProxy::Disarm() {
  const std::lock_guard lock(arms_->mutex);
  arms_->cut.reset();
}

void CutProxy::BeforeAnswer(std::string word, std::function<void()> work) {
  const std::lock_guard lock(mutex_);
  awaited_word_ = std::move(word);
  work_ = std::move(work);
}

void CutProxy::LeadTo(std::string server_place) {
  std::unique_lock lock(mutex_);
  server_place_ = std::move(server_place);
  is_moving_ = true;
  moved_.wait(lock, [this] { return !is_moving_; });
}

void CutProxy::Work(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    std::vector<pollfd> ready = {{.fd = listener_, .events = POLLIN, .revents = 0}};
    for (const Link& link : links_) {
      ready.push_back({.fd = link.client, .events = POLLIN, .revents = 0});
      ready.push_back({.fd = link.server, .events = POLLIN, .revents = 0});
    }
    poll(ready.data(), ready.size(), kPollMilliseconds);
    bool is_moving = false;
    {
      const std::lock_guard lock(mutex_);
      is_moving = is_moving_;
    }
    for (std::size_t i = links_.size(); i-- > 0;) {
      Link& link = links_[i];
      bool goes_on = !is_moving;
      if (goes_on && IsReadable(ready[1 + 2 * i])) goes_on = PassOn(link);
      if (goes_on && IsReadable(ready[2 + 2 * i])) goes_on = Answer(link);
      if (goes_on) continue;
      close(link.client);
      close(link.server);
      links_.erase(links_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (is_moving) {
      const std::lock_guard lock(mutex_);
      is_moving_ = false;
      moved_.notify_all();
    }
    if ((ready[0].revents & POLLIN) != 0) Accept();
  }
  for (const Link& link : links_) {
    close(link.client);
    close(link.server);
  }
}

void CutProxy::Accept() {
  std::unique_lock lock(mutex_);
  const SocketAddress address(server_place_);
  lock.unlock();
  Link link{.client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC),
            .server = address.NewSocket()};
  if (link.client >= 0 && connect(link.server, address.get(), address.size()) == 0) {
    links_.push_back(link);
    return;
  }
  if (link.client >= 0) close(link.client);
  close(link.server);
}

std::optional<Cut> CutProxy::TakeArmed(const std::string& bytes) {
  if (bytes.find(kScriptRun) == std::string::npos) return std::nullopt;
  const std::lock_guard lock(arms_->mutex);
  if (arms_->cut) ++cuts_;
  return std::exchange(arms_->cut, std::nullopt);
}

std::function<void()> CutProxy::TakeWork(const std::string& bytes) {
  const std::lock_guard lock(mutex_);
  if (!work_ || bytes.find(awaited_word_) == std::string::npos) return nullptr;
  return std::exchange(work_, nullptr);
}

bool CutProxy::PassOn(Link& link) {
  const std::string bytes = Receive(link.client);
  if (bytes.empty()) return false;
  if (auto work = TakeWork(bytes)) link.work = std::move(work);
  const std::optional<Cut> cut = TakeArmed(bytes);
  if (!cut) return Send(link.server, bytes);
  if (*cut == Cut::kUnheard) return false;
  if (*cut == Cut::kTorn) {
    Send(link.server, std::string_view(bytes).substr(0, bytes.size() / 2));
    return false;
  }
  link.cut = cut;
  return Send(link.server, bytes);
}

bool CutProxy::Answer(Link& link) {
  const std::string bytes = Receive(link.server);
  if (bytes.empty()) return false;
  if (link.work) std::exchange(link.work, nullptr)();
  if (!link.cut) return Send(link.client, bytes);
  if (*link.cut == Cut::kHalfAnswered) {
    Send(link.client, std::string_view(bytes).substr(0, bytes.size() / 2));
  }
  return false;
}

}  // namespace once::redis::testing
