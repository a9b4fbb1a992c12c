// One thread, one poll() over all connections.
#include "adapters/kafka/tests/kafka_proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace once::kafka::testing {
namespace {

constexpr const char* kHost = "127.0.0.1";
constexpr int kPollMilliseconds = 5;
constexpr std::size_t kSizeBytes = 4;          // before every frame
constexpr std::size_t kRequestHeadBytes = 8;   // kind, version, correlation
constexpr std::size_t kResponseHeadBytes = 4;  // correlation

template <typename Integer>
Integer ReadInteger(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(Integer); ++i) {
    value = value << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return static_cast<Integer>(value);
}

// Of four bytes.
std::string IntegerBytes(std::uint16_t small) {
  return {'\0', '\0', static_cast<char>(small >> 8), static_cast<char>(small & 0xff)};
}

sockaddr_in AddressOf(std::uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, kHost, &address.sin_addr);
  return address;
}

int NewSocket() {
  const int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (made < 0) throw std::runtime_error("proxy: socket");
  const int on = 1;
  setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return made;
}

// The next whole frame, its size included; empty when there is none yet.
std::string TakeFrame(std::string& bytes) {
  if (bytes.size() < kSizeBytes) return {};
  const std::size_t size = kSizeBytes + ReadInteger<std::uint32_t>(bytes);
  if (bytes.size() < size) return {};
  std::string frame = bytes.substr(0, size);
  bytes.erase(0, size);
  return frame;
}

// False when the connection is over.
bool Receive(int from, short events, std::string& bytes) {
  if ((events & (POLLIN | POLLHUP | POLLERR)) == 0) return true;
  std::array<char, 65536> part{};
  const ssize_t size = recv(from, part.data(), part.size(), MSG_DONTWAIT);
  if (size > 0) bytes.append(part.data(), static_cast<std::size_t>(size));
  return size > 0 || (size < 0 && (errno == EAGAIN || errno == EINTR));
}

bool Send(int to, std::string& bytes) {
  if (bytes.empty()) return true;
  const ssize_t size = send(to, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (size > 0) bytes.erase(0, static_cast<std::size_t>(size));
  return size > 0 || errno == EAGAIN || errno == EINTR;
}

short EventsOf(const std::string& unwritten) {
  return static_cast<short>(unwritten.empty() ? POLLIN : POLLIN | POLLOUT);
}

}  // namespace

KafkaProxy::KafkaProxy(const std::string& broker) {
  const std::size_t colon = broker.rfind(':');
  int port = 0;
  if (broker.substr(0, colon) != kHost || !absl::SimpleAtoi(broker.substr(colon + 1), &port)) {
    throw std::runtime_error("proxy: the broker must be 127.0.0.1:port, not " + broker);
  }
  broker_port_ = static_cast<std::uint16_t>(port);
  listener_ = NewSocket();
  sockaddr_in address = AddressOf(0);
  socklen_t size = sizeof address;
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener_, 64) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error(absl::StrCat("proxy: listen: ", std::strerror(errno)));
  }
  port_ = ntohs(address.sin_port);
  thread_ = std::jthread([this](const std::stop_token& stop) { Work(stop); });
}

KafkaProxy::~KafkaProxy() {
  thread_.request_stop();
  thread_.join();
  close(listener_);
}

std::string KafkaProxy::address() const { return absl::StrCat(kHost, ":", port_); }

void KafkaProxy::Arm(const ConnectionCut& cut) {
  const std::lock_guard lock(mutex_);
  armed_ = cut;
  ++number_;
  has_cut_ = false;
}

void KafkaProxy::Disarm() {
  const std::lock_guard lock(mutex_);
  armed_.reset();
  ++number_;
  has_cut_ = false;
}

bool KafkaProxy::AwaitCut(absl::Duration patience) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, absl::ToChronoMilliseconds(patience), [&] { return has_cut_; });
}

void KafkaProxy::Work(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    std::vector<pollfd> ready = {{.fd = listener_, .events = POLLIN, .revents = 0}};
    for (const auto& link : links_) {
      // A silent link hears nothing more.
      const bool is_silent = link->ends_at.has_value();
      ready.push_back(
          {.fd = is_silent ? -1 : link->client, .events = EventsOf(link->to_client), .revents = 0});
      ready.push_back(
          {.fd = is_silent ? -1 : link->broker, .events = EventsOf(link->to_broker), .revents = 0});
    }
    poll(ready.data(), ready.size(), kPollMilliseconds);
    for (std::size_t i = links_.size(); i-- > 0;) {
      Link& link = *links_[i];
      const bool is_over = !is_up_ ? true
                           : link.ends_at.has_value()
                               ? absl::Now() >= *link.ends_at
                               : !Serve(link, ready[1 + 2 * i].revents, ready[2 + 2 * i].revents);
      if (!is_over) continue;
      close(link.client);
      close(link.broker);
      links_.erase(links_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if ((ready[0].revents & POLLIN) != 0) Accept();
  }
  for (const auto& link : links_) {
    close(link->client);
    close(link->broker);
  }
}

void KafkaProxy::Accept() {
  auto link = std::make_unique<Link>();
  link->client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (link->client < 0) return;
  if (!is_up_) {
    close(link->client);
    return;
  }
  link->broker = NewSocket();
  sockaddr_in address = AddressOf(broker_port_);
  if (connect(link->broker, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    close(link->client);
    close(link->broker);
    return;
  }
  links_.push_back(std::move(link));
}

bool KafkaProxy::Serve(Link& link, short client_events, short broker_events) {
  if (!Receive(link.client, client_events, link.from_client)) return false;
  if (!Receive(link.broker, broker_events, link.from_broker)) return false;
  if (!TakeRequests(link) || !TakeResponses(link)) return true;  // it falls silent
  return Send(link.client, link.to_client) && Send(link.broker, link.to_broker);
}

// Of one topic and one partition, as librdkafka writes them; before flexible versions.
bool KafkaProxy::Refuse(Link& link, std::string_view request) {
  constexpr std::int16_t kVersionMin = 3;
  constexpr std::int16_t kVersionMax = 7;
  const auto version = ReadInteger<std::int16_t>(request.substr(2));
  if (version < kVersionMin || version > kVersionMax) return false;
  const std::string_view correlation = request.substr(4, 4);
  std::string_view rest = request.substr(kRequestHeadBytes);
  const auto take = [&rest](std::size_t size) {
    const std::string_view taken = rest.substr(0, size);
    rest.remove_prefix(size);
    return taken;
  };
  const auto take_text = [&] {
    const auto size = ReadInteger<std::int16_t>(rest);
    return take(2 + static_cast<std::size_t>(std::max<std::int16_t>(size, 0)));
  };
  take_text();  // the client's id
  take_text();  // the transactional id
  take(2 + 4);  // acks, time limit
  take(4);      // how many topics
  const std::string_view topic = take_text();
  take(4);  // how many partitions
  const std::string_view partition = take(4);
  const std::string one("\0\0\0\1", 4);
  const std::int16_t error = refused_with_;
  std::string answer =
      std::string(correlation) + one + std::string(topic) + one + std::string(partition);
  answer.push_back(static_cast<char>(error >> 8));
  answer.push_back(static_cast<char>(error & 0xff));
  answer.append(2 * 8, '\xff');                // no offset, no time
  if (version >= 5) answer.append(8, '\xff');  // no first offset
  answer.append(4, '\0');                      // nobody is throttled
  link.to_client += IntegerBytes(static_cast<std::uint16_t>(answer.size()));
  link.to_client += answer;
  refused_with_ = 0;
  has_refused_ = true;
  return true;
}

// False when the link is to be cut.
bool KafkaProxy::TakeRequests(Link& link) {
  for (std::string frame = TakeFrame(link.from_client); !frame.empty();
       frame = TakeFrame(link.from_client)) {
    if (frame.size() < kSizeBytes + kRequestHeadBytes) continue;
    const std::string_view head = std::string_view(frame).substr(kSizeBytes);
    const auto request = static_cast<KafkaRequest>(ReadInteger<std::int16_t>(head));
    const auto correlation = ReadInteger<std::int32_t>(head.substr(4));
    if (request == KafkaRequest::kProduce && refused_with_ != 0 && Refuse(link, head)) continue;
    link.waiting[correlation] = request;
    std::unique_lock lock(mutex_);
    if (armed_ && armed_->request == request) {
      const bool is_applied = armed_->is_applied;
      link.lost = {.correlation = correlation, .silence = armed_->silence, .number = number_};
      armed_.reset();
      lock.unlock();
      if (!is_applied) {
        Lose(link, *link.lost);
        return false;
      }
    }
    link.to_broker += frame;
  }
  return true;
}

bool KafkaProxy::TakeResponses(Link& link) {
  for (std::string frame = TakeFrame(link.from_broker); !frame.empty();
       frame = TakeFrame(link.from_broker)) {
    if (frame.size() < kSizeBytes + kResponseHeadBytes) continue;
    const auto correlation = ReadInteger<std::int32_t>(std::string_view(frame).substr(kSizeBytes));
    if (link.lost && link.lost->correlation == correlation) {
      Lose(link, *link.lost);
      return false;
    }
    const auto request = link.waiting.find(correlation);
    if (request != link.waiting.end()) {
      const bool names_brokers = request->second == KafkaRequest::kMetadata ||
                                 request->second == KafkaRequest::kFindCoordinator;
      if (names_brokers) NameSelf(frame);
      link.waiting.erase(request);
    }
    link.to_client += frame;
  }
  return true;
}

void KafkaProxy::Lose(Link& link, const LostAnswer& lost) {
  link.ends_at = absl::Now() + lost.silence;
  const std::lock_guard lock(mutex_);
  if (lost.number != number_) return;
  has_cut_ = true;
  changed_.notify_all();
}

void KafkaProxy::NameSelf(std::string& response) const {
  // A host, as text, and its port: the same length whatever the port.
  const std::string theirs = kHost + IntegerBytes(broker_port_);
  const std::string ours = kHost + IntegerBytes(port_);
  for (std::size_t at = response.find(theirs); at != std::string::npos;
       at = response.find(theirs, at + 1)) {
    response.replace(at, theirs.size(), ours);
  }
}

}  // namespace once::kafka::testing
