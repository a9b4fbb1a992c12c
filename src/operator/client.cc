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

// How often the owner is asked whether a long job is over.
constexpr absl::Duration kJobPoll = absl::Milliseconds(200);

// What is known about a request whose answer did not come.
enum class Effect : std::uint8_t { kNone, kPossible };

// Whether the call changes the store: only then does a lost answer leave a doubt.
enum class CallKind : std::uint8_t { kReads, kChanges };

// Calls by name.
class OwnerCaller {
 public:
  OwnerCaller(std::string path, OwnerOptions options)
      : path_(std::move(path)), options_(std::move(options)) {}

  const OwnerOptions& options() const { return options_; }

  // The owner's process, once it has answered.
  absl::StatusOr<pid_t> Greet() {
    operators::Peer owner;
    const absl::StatusOr<json> result = Call(operators::kGreet, json(), CallKind::kReads, &owner);
    if (!result.ok()) return result.status();
    return owner.process;
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

  absl::Status NotUnderstood(std::string_view call) const {
    return absl::InternalError(
        absl::StrCat("operators' socket: the answer of ", path_, " to ", ToAbsl(call),
                     " is not understood; use the `once` command of the owner's version"));
  }

 private:
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

  const std::string path_;
  const OwnerOptions options_;
};

class OwnerClient final : public StoreOperations {
 public:
  explicit OwnerClient(std::shared_ptr<OwnerCaller> owner) : owner_(std::move(owner)) {}

  absl::StatusOr<std::vector<StoredPosition>> ListPositions() override {
    return owner_->Find<std::vector<StoredPosition>>(operators::kListPositions, json());
  }

  absl::Status OrderPosition(const PositionOrder& order) override {
    return owner_->Change(operators::kOrderPosition, operators::Encode(order));
  }

  absl::StatusOr<std::vector<StoredFailure>> FindFailures(const FailureQuery& query) override {
    std::vector<StoredFailure> all;
    FailureQuery rest = query;
    bool has_more = query.letters_max > 0;
    while (has_more) {
      const absl::StatusOr<json> page =
          owner_->Call(operators::kFindFailures, operators::Encode(rest), CallKind::kReads);
      if (!page.ok()) return page.status();
      std::vector<StoredFailure> letters;
      const bool is_whole =
          operators::DecodeMember(*page, operators::kLettersName, letters) &&
          operators::DecodeMember(*page, operators::kHasMoreName, has_more) &&
          letters.size() <= rest.letters_max &&
          std::all_of(letters.begin(), letters.end(),
                      [&](const StoredFailure& letter) { return letter.number > rest.after; });
      if (!is_whole) return owner_->NotUnderstood(operators::kFindFailures);
      if (letters.empty()) break;
      rest.after = letters.back().number;
      rest.letters_max -= letters.size();
      has_more = has_more && rest.letters_max > 0;
      std::move(letters.begin(), letters.end(), std::back_inserter(all));
    }
    return all;
  }

  absl::StatusOr<std::vector<StoredNote>> ListNotes(const NoteQuery& query) override {
    std::vector<StoredNote> all;
    NoteQuery rest = query;
    bool has_more = query.notes_max > 0;
    while (has_more) {
      const absl::StatusOr<json> page =
          owner_->Call(operators::kListNotes, operators::Encode(rest), CallKind::kReads);
      if (!page.ok()) return page.status();
      std::vector<StoredNote> notes;
      const bool is_whole = operators::DecodeMember(*page, operators::kNotesName, notes) &&
                            operators::DecodeMember(*page, operators::kHasMoreName, has_more) &&
                            notes.size() <= rest.notes_max &&
                            std::all_of(notes.begin(), notes.end(), [&](const StoredNote& note) {
                              return note.key > rest.after;
                            });
      if (!is_whole) return owner_->NotUnderstood(operators::kListNotes);
      if (notes.empty()) break;
      rest.after = notes.back().key;
      rest.notes_max -= notes.size();
      has_more = has_more && rest.notes_max > 0;
      std::move(notes.begin(), notes.end(), std::back_inserter(all));
    }
    return all;
  }

  absl::StatusOr<std::vector<FoundId>> FindId(const std::string& id) override {
    return owner_->Find<std::vector<FoundId>>(operators::kFindId, operators::Encode(id));
  }

  absl::Status Redrive(const RedriveRequest& request) override {
    return owner_->Change(operators::kRedrive, operators::Encode(request));
  }
  absl::Status Discard(const IdKey& key) override {
    return owner_->Change(operators::kDiscard, EncodeKey(key));
  }
  absl::Status Resolve(const IdKey& key) override {
    return owner_->Change(operators::kResolve, EncodeKey(key));
  }
  absl::Status DropLetter(std::int64_t number) override {
    return owner_->Change(operators::kDropLetter, json(number));
  }

 private:
  static json EncodeKey(const IdKey& key) {
    return operators::Encode(
        operators::OwnedIdKey{.scope = std::string(key.scope), .id = std::string(key.id)});
  }

  const std::shared_ptr<OwnerCaller> owner_;
};

// The owner's log of outgoing messages.
class OwnerOutgoing final : public OutgoingOperations {
 public:
  explicit OwnerOutgoing(std::shared_ptr<OwnerCaller> owner) : owner_(std::move(owner)) {}

  absl::StatusOr<OutgoingCounts> Count() override {
    return owner_->Find<OutgoingCounts>(operators::kCountOutgoing, json());
  }
  absl::StatusOr<std::vector<OutgoingRow>> ListWaiting(std::int64_t after,
                                                       std::size_t rows_max) override {
    const auto number = [](const OutgoingRow& row) { return row.number; };
    return List<OutgoingRow>(operators::kListWaiting, {after, rows_max}, number);
  }
  absl::StatusOr<std::vector<ParkedRow>> ListParked(std::int64_t after,
                                                    std::size_t rows_max) override {
    const auto number = [](const ParkedRow& row) { return row.row.number; };
    return List<ParkedRow>(operators::kListParked, {after, rows_max}, number);
  }
  absl::StatusOr<std::vector<DiscardedRow>> ListDiscarded(std::int64_t after,
                                                          std::size_t rows_max) override {
    const auto number = [](const DiscardedRow& row) { return row.number; };
    return List<DiscardedRow>(operators::kListDiscarded, {after, rows_max}, number);
  }
  absl::Status Unpark(std::int64_t number) override {
    return owner_->Change(operators::kUnpark, Word(number, ""));
  }
  absl::StatusOr<std::size_t> UnparkTopic(const std::string& topic) override {
    const absl::StatusOr<json> done =
        owner_->Call(operators::kUnparkTopic, operators::Encode(topic), CallKind::kChanges);
    if (!done.ok()) return done.status();
    std::size_t count = 0;
    if (!operators::Decode(*done, count)) return owner_->NotUnderstood(operators::kUnparkTopic);
    return count;
  }
  absl::Status Discard(std::int64_t number) override {
    return owner_->Change(operators::kDiscardOutgoing, Word(number, ""));
  }
  absl::Status GiveUp(std::int64_t number, const std::string& reason) override {
    return owner_->Change(operators::kGiveUp, Word(number, reason));
  }

 private:
  static json Word(std::int64_t number, const std::string& reason) {
    return operators::Encode(operators::RowWord{.number = number, .reason = reason});
  }

  template <typename Row, typename NumberOf>
  absl::StatusOr<std::vector<Row>> List(std::string_view call, operators::RowQuery rest,
                                        NumberOf number_of) {
    std::vector<Row> all;
    bool has_more = rest.rows_max > 0;
    while (has_more) {
      const absl::StatusOr<json> page =
          owner_->Call(call, operators::Encode(rest), CallKind::kReads);
      if (!page.ok()) return page.status();
      std::vector<Row> rows;
      const bool is_whole = operators::DecodeMember(*page, operators::kRowsName, rows) &&
                            operators::DecodeMember(*page, operators::kHasMoreName, has_more) &&
                            rows.size() <= rest.rows_max &&
                            std::all_of(rows.begin(), rows.end(), [&](const Row& row) {
                              return number_of(row) > rest.after;
                            });
      if (!is_whole) return owner_->NotUnderstood(call);
      if (rows.empty()) break;
      rest.after = number_of(rows.back());
      rest.rows_max -= rows.size();
      has_more = has_more && rest.rows_max > 0;
      std::move(rows.begin(), rows.end(), std::back_inserter(all));
    }
    return all;
  }

  const std::shared_ptr<OwnerCaller> owner_;
};

// What takes long is begun there and looked at until it is over.
class OwnerMaintenance final : public StoreMaintenance {
 public:
  explicit OwnerMaintenance(std::shared_ptr<OwnerCaller> owner) : owner_(std::move(owner)) {}

  absl::StatusOr<std::vector<StoreFigure>> ReadFigures() override {
    return owner_->Find<std::vector<StoreFigure>>(operators::kReadFigures, json());
  }

  absl::StatusOr<std::vector<std::string>> Verify(const std::stop_token& stop) override {
    absl::StatusOr<JobState> end = RunJob({.job = MaintenanceJob::kVerify, .path = ""}, stop);
    if (!end.ok()) return end.status();
    return std::move(end->findings);
  }
  absl::Status Compact(const std::stop_token& stop) override {
    return RunJob({.job = MaintenanceJob::kCompact, .path = ""}, stop).status();
  }
  absl::Status Backup(const std::string& path, const std::stop_token& stop) override {
    return RunJob({.job = MaintenanceJob::kBackup, .path = path}, stop).status();
  }

 private:
  static bool IsSilence(const absl::Status& status) {
    return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
  }

  using JobRequest = operators::JobRequest;
  using JobState = operators::JobState;
  using MaintenanceJob = operators::MaintenanceJob;

  absl::StatusOr<JobState> RunJob(const JobRequest& request, const std::stop_token& stop) {
    const absl::StatusOr<json> begun =
        owner_->Call(operators::kStartJob, operators::Encode(request), CallKind::kChanges);
    if (!begun.ok()) return begun.status();
    std::int64_t number = 0;
    if (!operators::Decode(*begun, number)) return owner_->NotUnderstood(operators::kStartJob);
    Executor& executor = *owner_->options().executor;
    const std::unique_ptr<Event> stopped = executor.NewEvent();
    const std::stop_callback wake(stop, [&] { stopped->Set(); });
    absl::Time give_up = executor.Now() + owner_->options().timeout;
    while (true) {
      auto state = owner_->Find<JobState>(operators::kLookAtJob, json(number));
      if (state.ok()) give_up = executor.Now() + owner_->options().timeout;
      // An owner that does not answer once may be busy; one that is gone will not answer again.
      const bool may_be_busy = IsSilence(state.status()) && executor.Now() < give_up;
      if (!may_be_busy && (!state.ok() || !state->is_running)) {
        const absl::Status end = state.ok() ? state->status : state.status();
        return end.ok() ? std::move(state) : end;
      }
      if (stopped->WaitUntil(executor.Now() + kJobPoll)) {
        return absl::CancelledError("given up here; the owner of the store goes on with it");
      }
    }
  }

  const std::shared_ptr<OwnerCaller> owner_;
};

}  // namespace

absl::StatusOr<StoreOwner> ConnectToOwner(const std::string& path, OwnerOptions options) {
  const auto owner = std::make_shared<OwnerCaller>(path, std::move(options));
  const absl::StatusOr<pid_t> process = owner->Greet();
  if (!process.ok()) return process.status();
  return StoreOwner{.process = *process,
                    .operations = std::make_unique<OwnerClient>(owner),
                    .maintenance = std::make_unique<OwnerMaintenance>(owner),
                    .outgoing = std::make_unique<OwnerOutgoing>(owner)};
}

}  // namespace once
