// The owner's end: one thread, one poll(), nothing that blocks but the store's own calls. A client
// that says nothing, or never reads its answer, costs a place until its time is over.
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/operator_socket.h"
#include "src/operator/answer_request.h"
#include "src/operator/local_socket.h"

namespace once {
namespace {

using operators::Descriptor;

constexpr std::size_t kChunkBytes = 64 * 1024;

// Nobody is accepted for so long after the process had no file descriptor left for a client.
constexpr absl::Duration kAcceptRest = absl::Seconds(1);

// No signal of the process is delivered to threads begun while it lives: they are somebody else's.
class SignalShield {
 public:
  SignalShield() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &former_);
  }
  ~SignalShield() { pthread_sigmask(SIG_SETMASK, &former_, nullptr); }
  SignalShield(const SignalShield&) = delete;
  SignalShield& operator=(const SignalShield&) = delete;

 private:
  sigset_t former_ = {};
};

std::string Answer(const operators::Desks& desks, std::string_view line) {
  try {
    return operators::AnswerRequest(desks, line);
  } catch (const std::bad_alloc&) {  // an operator's wish is no reason to end the consumer
    return operators::AnswerError(absl::ResourceExhaustedError("the owner is out of memory"));
  }
}

struct Client {
  Descriptor connection;
  absl::Time deadline;     // for the request, or for reading the answer
  std::string request;     // what has come of it
  std::size_t looked = 0;  // bytes of it without a newline
  std::string answer;      // what has not gone of it
  std::size_t sent = 0;
  bool is_last = false;  // closed after the answer
  bool is_over = false;
};

class SocketServer final : public OperatorServer {
 public:
  SocketServer(operators::SocketPlace place, Descriptor listener, Descriptor wake,
               OperatorTargets targets, OperatorServerOptions options)
      : place_(std::move(place)),
        listener_(std::move(listener)),
        wake_(std::move(wake)),
        options_(std::move(options)),
        desk_(std::make_unique<operators::MaintenanceDesk>(targets.maintenance, options_.executor)),
        desks_{.operations = targets.operations,
               .maintenance = desk_.get(),
               .outgoing = targets.outgoing},
        process_(::getpid()) {
    const SignalShield shield;
    task_ = options_.executor->Spawn("once-operators", [this] { Serve(); });
  }

  ~SocketServer() override {
    if (::getpid() != process_) {
      // A forked child: the threads and the socket are its parent's.
      static_cast<void>(task_.release());
      static_cast<void>(desk_.release());
      return;
    }
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_.number(), &one, sizeof one);
    task_.reset();
    ::unlinkat(place_.folder.number(), place_.name.c_str(), 0);
  }

 private:
  void Serve() {
    while (true) {
      const bool may_accept = options_.executor->Now() >= accept_again_;
      const short accepting = may_accept ? POLLIN : 0;
      std::vector<struct pollfd> polled = {{wake_.number(), POLLIN, 0},
                                           {listener_.number(), accepting, 0}};
      for (const Client& client : clients_) {
        const short wanted = client.answer.empty() ? POLLIN : POLLOUT;
        polled.push_back({client.connection.number(), wanted, 0});
      }
      const int ready = ::poll(polled.data(), polled.size(), PollTimeout());
      if (polled[0].revents != 0) return;
      for (std::size_t i = 0; ready > 0 && i < clients_.size(); ++i) {
        if (polled[i + 2].revents != 0) ServeClient(clients_[i]);
      }
      const absl::Time now = options_.executor->Now();
      std::erase_if(clients_,
                    [&](const Client& client) { return client.is_over || client.deadline <= now; });
      if (ready > 0 && polled[1].revents != 0) Accept();
    }
  }

  // Milliseconds until there is something to do without being asked; -1: there is nothing.
  int PollTimeout() const {
    const absl::Time now = options_.executor->Now();
    absl::Time first = accept_again_ > now ? accept_again_ : absl::InfiniteFuture();
    for (const Client& client : clients_) first = std::min(first, client.deadline);
    if (first == absl::InfiniteFuture()) return -1;
    const absl::Duration left = first - now;
    return static_cast<int>(
        absl::ToInt64Milliseconds(std::clamp(left, absl::ZeroDuration(), absl::Hours(1))) + 1);
  }

  void Accept() {
    Descriptor connection(
        ::accept4(listener_.number(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!connection.is_open()) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        accept_again_ = options_.executor->Now() + kAcceptRest;
      }
      return;
    }
    if (clients_.size() >= kOperatorClientsMax) {
      clients_.erase(std::min_element(
          clients_.begin(), clients_.end(),
          [](const Client& a, const Client& b) { return a.deadline < b.deadline; }));
    }
    Client client{.connection = std::move(connection), .deadline = absl::InfinitePast()};
    Extend(client);
    const absl::StatusOr<operators::Peer> peer = operators::FindPeer(client.connection);
    const absl::Status same =
        peer.ok() ? operators::CheckSameUser(peer->user, "the client") : peer.status();
    if (!same.ok()) AnswerAndClose(client, same);
    if (!client.is_over) clients_.push_back(std::move(client));
  }

  void Extend(Client& client) { client.deadline = options_.executor->Now() + options_.patience; }

  void ServeClient(Client& client) {
    if (!client.answer.empty()) {
      Send(client);
      if (client.answer.empty() && !client.is_over) AnswerWhatCame(client);
    } else {
      Receive(client);
    }
  }

  void Receive(Client& client) {
    std::array<char, kChunkBytes> chunk{};
    const ssize_t size = ::recv(client.connection.number(), chunk.data(), chunk.size(), 0);
    if (size <= 0) {
      client.is_over = size == 0 || (errno != EAGAIN && errno != EINTR);
      return;
    }
    client.request.append(chunk.data(), static_cast<std::size_t>(size));
    AnswerWhatCame(client);
  }

  // A client that sent two requests at once gets its second answer, too.
  void AnswerWhatCame(Client& client) {
    while (AnswerNext(client) && !client.is_over && client.answer.empty() &&
           !client.request.empty()) {
    }
  }

  // Answers the first whole line that has come, if there is one.
  // False when there is none, or no room for its answer yet.
  bool AnswerNext(Client& client) {
    const std::size_t end = client.request.find('\n', client.looked);
    client.looked = client.request.size();
    const std::size_t size = end == std::string::npos ? client.request.size() : end;
    if (size > kOperatorLineBytesMax) {
      AnswerAndClose(client, absl::ResourceExhaustedError(absl::StrCat(
                                 "the request is longer than ", kOperatorLineBytesMax,
                                 " bytes; stop the owner and run the command on the closed "
                                 "store")));
      return false;
    }
    if (end == std::string::npos) return false;
    client.answer = Answer(desks_, std::string_view(client.request).substr(0, end));
    client.request.erase(0, end + 1);
    client.looked = 0;
    Extend(client);
    Send(client);
    return true;
  }

  void AnswerAndClose(Client& client, const absl::Status& error) {
    client.request.clear();
    client.answer = operators::AnswerError(error);
    client.is_last = true;
    Send(client);
  }

  void Send(Client& client) {
    const ssize_t size = ::send(client.connection.number(), client.answer.data() + client.sent,
                                client.answer.size() - client.sent, MSG_NOSIGNAL);
    if (size < 0) {
      client.is_over = errno != EAGAIN && errno != EINTR;
      return;
    }
    client.sent += static_cast<std::size_t>(size);
    if (client.sent < client.answer.size()) return;
    client.answer.clear();
    client.answer.shrink_to_fit();
    client.sent = 0;
    client.is_over = client.is_last;
    Extend(client);
  }

  const operators::SocketPlace place_;
  const Descriptor listener_;
  const Descriptor wake_;
  const OperatorServerOptions options_;
  std::unique_ptr<operators::MaintenanceDesk> desk_;
  const operators::Desks desks_;
  const pid_t process_;
  // Of the thread:
  std::vector<Client> clients_;
  absl::Time accept_again_ = absl::InfinitePast();
  std::unique_ptr<Task> task_;  // last: it uses all of the above
};

}  // namespace

absl::StatusOr<std::unique_ptr<OperatorServer>> OperatorServer::Start(
    const std::string& path, OperatorTargets targets, OperatorServerOptions options) {
  absl::StatusOr<operators::SocketPlace> place = operators::FindPlace(path);
  if (!place.ok()) return place.status();
  Descriptor wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.is_open()) {
    return absl::UnavailableError(
        absl::StrCat("operators' socket: ", path, ": no file descriptor is left"));
  }
  absl::StatusOr<Descriptor> listener = operators::ListenAt(*place);
  if (!listener.ok()) return listener.status();
  return std::make_unique<SocketServer>(*std::move(place), *std::move(listener), std::move(wake),
                                        targets, std::move(options));
}

}  // namespace once
