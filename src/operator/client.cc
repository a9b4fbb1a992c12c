// The operator's end: one connection per call, so that nothing is left half said after a failure.
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/operator_socket.h"
#include "src/operator/codec.h"
#include "src/operator/local_socket.h"

namespace once {
namespace {

using nlohmann::json;
using operators::Descriptor;

constexpr std::size_t kChunkBytes = 64 * 1024;

// What is known about a request whose answer did not come.
enum class Effect : std::uint8_t { kNone, kPossible };

// Whether the call changes the store: only then does a lost answer leave a doubt.
enum class CallKind : std::uint8_t { kReads, kChanges };

class OwnerClient final : public StoreOperations {
 public:
  OwnerClient(std::string path, OwnerOptions options)
      : path_(std::move(path)), options_(std::move(options)) {}

  // The owner's process, once it has answered.
  absl::StatusOr<pid_t> Greet() {
    operators::Peer owner;
    const absl::StatusOr<json> result = Call(operators::kGreet, json(), CallKind::kReads, &owner);
    if (!result.ok()) return result.status();
    return owner.process;
  }

  absl::StatusOr<std::vector<StoredPosition>> ListPositions() override {
    return Find<std::vector<StoredPosition>>(operators::kListPositions, json());
  }

  absl::Status OrderPosition(const PositionOrder& order) override {
    return Change(operators::kOrderPosition, operators::Encode(order));
  }

  absl::StatusOr<std::vector<StoredFailure>> FindFailures(const FailureQuery& query) override {
    std::vector<StoredFailure> all;
    FailureQuery rest = query;
    bool has_more = query.letters_max > 0;
    while (has_more) {
      const absl::StatusOr<json> page =
          Call(operators::kFindFailures, operators::Encode(rest), CallKind::kReads);
      if (!page.ok()) return page.status();
      std::vector<StoredFailure> letters;
      const bool is_whole =
          operators::DecodeMember(*page, operators::kLettersName, letters) &&
          operators::DecodeMember(*page, operators::kHasMoreName, has_more) &&
          letters.size() <= rest.letters_max &&
          std::all_of(letters.begin(), letters.end(),
                      [&](const StoredFailure& letter) { return letter.number > rest.after; });
      if (!is_whole) return NotUnderstood(operators::kFindFailures);
      if (letters.empty()) break;
      rest.after = letters.back().number;
      rest.letters_max -= letters.size();
      has_more = has_more && rest.letters_max > 0;
      std::move(letters.begin(), letters.end(), std::back_inserter(all));
    }
    return all;
  }

  absl::StatusOr<std::vector<FoundId>> FindId(const std::string& id) override {
    return Find<std::vector<FoundId>>(operators::kFindId, operators::Encode(id));
  }

  absl::Status Redrive(const RedriveRequest& request) override {
    return Change(operators::kRedrive, operators::Encode(request));
  }
  absl::Status Discard(const IdKey& key) override {
    return Change(operators::kDiscard, EncodeKey(key));
  }
  absl::Status Resolve(const IdKey& key) override {
    return Change(operators::kResolve, EncodeKey(key));
  }
  absl::Status DropLetter(std::int64_t number) override {
    return Change(operators::kDropLetter, json(number));
  }

 private:
  static json EncodeKey(const IdKey& key) {
    return operators::Encode(
        operators::OwnedIdKey{.scope = std::string(key.scope), .id = std::string(key.id)});
  }

  template <typename Result>
  absl::StatusOr<Result> Find(std::string_view call, json argument) {
    const absl::StatusOr<json> found = Call(call, std::move(argument), CallKind::kReads);
    if (!found.ok()) return found.status();
    Result result;
    if (!operators::Decode(*found, result)) return NotUnderstood(call);
    return result;
  }

  absl::Status Change(std::string_view call, json argument) {
    return Call(call, std::move(argument), CallKind::kChanges).status();
  }

  // The owner's result or error, or what kept them from coming.
  absl::StatusOr<json> Call(std::string_view call, json argument, CallKind kind,
                            operators::Peer* owner = nullptr) {
    const absl::Time deadline = options_.executor->Now() + options_.timeout;
    const std::string request =
        operators::PrintDocument({{operators::kVersionName, operators::kVersion},
                                  {operators::kCallName, std::string(call)},
                                  {operators::kArgumentName, std::move(argument)}});
    if (request.size() > kOperatorLineBytesMax) {
      return absl::ResourceExhaustedError(
          absl::StrCat("operators' socket: the request has ", request.size(), " bytes, and ",
                       kOperatorLineBytesMax,
                       " is the limit; stop the owner and run the command on the closed store"));
    }
    const absl::StatusOr<operators::SocketPlace> place = operators::FindPlace(path_);
    if (!place.ok()) return place.status();
    const absl::StatusOr<Descriptor> connection = operators::ConnectTo(*place);
    if (!connection.ok()) return connection.status();
    const absl::StatusOr<operators::Peer> peer = operators::FindPeer(*connection);
    if (!peer.ok()) return peer.status();
    const absl::Status same = operators::CheckSameUser(peer->user, "the owner of the store");
    if (!same.ok()) return same;
    if (owner != nullptr) *owner = *peer;

    Effect effect = Effect::kNone;
    absl::StatusOr<std::string> line = Exchange(*connection, request, deadline, effect);
    if (!line.ok()) {
      if (effect == Effect::kNone || kind == CallKind::kReads) return line.status();
      return absl::UnknownError(
          absl::StrCat(line.status().message(), "; it may have been done all the same"));
    }
    absl::StatusOr<json> result = ReadAnswer(call, *line);
    const bool is_in_doubt = kind == CallKind::kChanges && absl::IsInternal(result.status());
    return is_in_doubt ? absl::UnknownError(result.status().message()) : result;
  }

  // kInternal: the answer is no answer.
  absl::StatusOr<json> ReadAnswer(std::string_view call, std::string_view line) {
    const absl::StatusOr<json> answer = operators::ParseDocument(line);
    if (!answer.ok()) return NotUnderstood(call);
    const auto error = answer->find(operators::kErrorName);
    if (error != answer->end()) {
      absl::Status status;
      if (!operators::Decode(*error, status)) return NotUnderstood(call);
      return status;
    }
    const auto result = answer->find(operators::kResultName);
    if (result == answer->end()) return NotUnderstood(call);
    return *result;
  }

  // Sends `request` and waits for a line. `effect` says whether the whole request went out.
  absl::StatusOr<std::string> Exchange(const Descriptor& connection, const std::string& request,
                                       absl::Time deadline, Effect& effect) {
    std::size_t sent = 0;
    while (sent < request.size()) {
      if (absl::Status ready = Await(connection, POLLOUT, deadline); !ready.ok()) return ready;
      const ssize_t size =
          ::send(connection.number(), request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
      if (size < 0 && errno == EPIPE) break;  // it has closed, perhaps with a word
      if (size < 0 && errno != EAGAIN && errno != EINTR) return Broken(errno);
      sent += size > 0 ? static_cast<std::size_t>(size) : 0;
    }
    effect = sent == request.size() ? Effect::kPossible : Effect::kNone;
    std::string line;
    while (line.size() <= kOperatorLineBytesMax) {
      if (absl::Status ready = Await(connection, POLLIN, deadline); !ready.ok()) return ready;
      std::array<char, kChunkBytes> chunk{};
      const ssize_t size = ::recv(connection.number(), chunk.data(), chunk.size(), 0);
      if (size < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (size <= 0) return Broken(size == 0 ? ECONNRESET : errno);
      const std::string_view received(chunk.data(), static_cast<std::size_t>(size));
      const std::size_t end = received.find('\n');
      line.append(received.substr(0, end));
      if (end != std::string_view::npos) return line;
    }
    return absl::ResourceExhaustedError(absl::StrCat("operators' socket: the answer from ", path_,
                                                     " is longer than ", kOperatorLineBytesMax,
                                                     " bytes"));
  }

  absl::Status Await(const Descriptor& connection, short wanted, absl::Time deadline) {
    while (true) {
      const absl::Duration left = deadline - options_.executor->Now();
      if (left <= absl::ZeroDuration()) {
        return absl::DeadlineExceededError(
            absl::StrCat("operators' socket: the process that has the store open does not answer "
                         "at ",
                         path_, " within ", absl::FormatDuration(options_.timeout)));
      }
      struct pollfd polled = {connection.number(), wanted, 0};
      const int milliseconds =
          static_cast<int>(absl::ToInt64Milliseconds(std::min(left, absl::Hours(1)))) + 1;
      if (::poll(&polled, 1, milliseconds) > 0) return absl::OkStatus();
    }
  }

  absl::Status Broken(int error) const {
    return absl::UnavailableError(absl::StrCat("operators' socket: the connection to ", path_,
                                               " ended: ", std::strerror(error)));
  }

  absl::Status NotUnderstood(std::string_view call) const {
    return absl::InternalError(
        absl::StrCat("operators' socket: the answer of ", path_, " to ", ToAbsl(call),
                     " is not understood; use the `once` command of the owner's version"));
  }

  const std::string path_;
  const OwnerOptions options_;
};

}  // namespace

absl::StatusOr<StoreOwner> ConnectToOwner(const std::string& path, OwnerOptions options) {
  auto client = std::make_unique<OwnerClient>(path, std::move(options));
  const absl::StatusOr<pid_t> process = client->Greet();
  if (!process.ok()) return process.status();
  return StoreOwner{.process = *process, .operations = std::move(client)};
}

}  // namespace once
