// Calls by name, checked before they reach the store.
#include "src/operator/answer_request.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "once/abseil.h"
#include "once/operator_socket.h"
#include "src/operator/answer_outgoing.h"
#include "src/operator/codec.h"

namespace once::operators {
namespace {

using nlohmann::json;

// Letters read from the store for one answer, and bytes after which no further one joins it: far
// below the longest line, so that one more letter of any usual size still fits.
constexpr std::size_t kLettersPerAnswer = 32;
constexpr std::size_t kNotesPerAnswer = 1000;
constexpr std::size_t kLetterBytesPerAnswer = 8 * 1024 * 1024;

constexpr const char* kDone = "done";

json Outer() { return {{kVersionName, kVersion}}; }

absl::Status BadArgument(std::string_view call) {
  return absl::InvalidArgumentError(
      absl::StrCat("the argument of ", ToAbsl(call), " is not what it should be"));
}

// Calls `change` with the decoded argument; its OK becomes a result.
template <typename Argument, typename Change>
absl::StatusOr<json> Apply(std::string_view call, const json& from, Change change) {
  Argument argument{};
  if (!Decode(from, argument)) return BadArgument(call);
  const absl::Status changed = change(std::as_const(argument));
  if (!changed.ok()) return changed;
  return json(kDone);
}

// What of the letters fits into one answer; the client asks for the rest.
absl::StatusOr<json> FindFailures(StoreOperations& operations, const json& from) {
  FailureQuery query;
  if (!Decode(from, query)) return BadArgument(kFindFailures);
  const std::size_t wanted = query.letters_max;
  query.letters_max = std::min(wanted, kLettersPerAnswer);
  const absl::StatusOr<std::vector<StoredFailure>> found = operations.FindFailures(query);
  if (!found.ok()) return found.status();
  json letters = json::array();
  std::size_t bytes = 0;
  for (const StoredFailure& failure : *found) {
    if (bytes > kLetterBytesPerAnswer) break;
    bytes += SizeBytes(failure.letter);
    letters.push_back(Encode(failure));
  }
  const bool is_cut = letters.size() < found->size();
  const bool may_be_more = found->size() == query.letters_max && query.letters_max < wanted;
  return json{{kLettersName, std::move(letters)}, {kHasMoreName, is_cut || may_be_more}};
}

// Likewise of notes.
absl::StatusOr<json> ListNotes(StoreOperations& operations, const json& from) {
  NoteQuery query;
  if (!Decode(from, query)) return BadArgument(kListNotes);
  const std::size_t wanted = query.notes_max;
  query.notes_max = std::min(wanted, kNotesPerAnswer);
  const absl::StatusOr<std::vector<StoredNote>> found = operations.ListNotes(query);
  if (!found.ok()) return found.status();
  json notes = json::array();
  std::size_t bytes = 0;
  for (const StoredNote& note : *found) {
    if (bytes > kLetterBytesPerAnswer) break;
    bytes += note.key.size() + note.value.size();
    notes.push_back(Encode(note));
  }
  const bool is_cut = notes.size() < found->size();
  const bool may_be_more = found->size() == query.notes_max && query.notes_max < wanted;
  return json{{kNotesName, std::move(notes)}, {kHasMoreName, is_cut || may_be_more}};
}

absl::StatusOr<json> FindId(StoreOperations& operations, const json& from) {
  std::string id;
  if (!Decode(from, id)) return BadArgument(kFindId);
  const absl::StatusOr<std::vector<StoreOperations::FoundId>> found = operations.FindId(id);
  if (!found.ok()) return found.status();
  return Encode(*found);
}

// OK and a result, or nullopt: it is no call of the desk's.
std::optional<absl::StatusOr<json>> CallDesk(MaintenanceDesk& desk, std::string_view call,
                                             const json& from) {
  if (call == kReadFigures) {
    const absl::StatusOr<std::vector<StoreFigure>> figures = desk.ReadFigures();
    return figures.ok() ? absl::StatusOr<json>(Encode(*figures)) : figures.status();
  }
  if (call == kStartJob) {
    JobRequest request;
    if (!Decode(from, request)) return BadArgument(call);
    const absl::StatusOr<std::int64_t> number = desk.Start(std::move(request));
    return number.ok() ? absl::StatusOr<json>(*number) : number.status();
  }
  if (call == kLookAtJob) {
    std::int64_t number = 0;
    if (!Decode(from, number)) return BadArgument(call);
    const absl::StatusOr<JobState> state = desk.Look(number);
    return state.ok() ? absl::StatusOr<json>(Encode(*state)) : state.status();
  }
  return std::nullopt;
}

absl::StatusOr<json> Call(const Desks& desks, std::string_view call, const json& from) {
  if (desks.maintenance != nullptr) {
    if (auto answer = CallDesk(*desks.maintenance, call, from)) return *std::move(answer);
  }
  if (auto answer = AnswerOutgoing(desks.outgoing, call, from)) return *std::move(answer);
  StoreOperations& operations = desks.operations;
  if (call == kGreet) return json(kDone);
  if (call == kListPositions) {
    const absl::StatusOr<std::vector<StoredPosition>> positions = operations.ListPositions();
    if (!positions.ok()) return positions.status();
    return Encode(*positions);
  }
  if (call == kFindFailures) return FindFailures(operations, from);
  if (call == kFindId) return FindId(operations, from);
  if (call == kListNotes) return ListNotes(operations, from);
  if (call == kOrderPosition) {
    return Apply<PositionOrder>(
        call, from, [&](const PositionOrder& order) { return operations.OrderPosition(order); });
  }
  if (call == kRedrive) {
    return Apply<RedriveRequest>(
        call, from, [&](const RedriveRequest& request) { return operations.Redrive(request); });
  }
  if (call == kDiscard) {
    return Apply<OwnedIdKey>(call, from, [&](const OwnedIdKey& key) {
      return operations.Discard({.scope = key.scope, .id = key.id});
    });
  }
  if (call == kResolve) {
    return Apply<OwnedIdKey>(call, from, [&](const OwnedIdKey& key) {
      return operations.Resolve({.scope = key.scope, .id = key.id});
    });
  }
  if (call == kDropLetter) {
    return Apply<std::int64_t>(call, from,
                               [&](std::int64_t number) { return operations.DropLetter(number); });
  }
  return absl::UnimplementedError(
      "there is no such call; use the `once` command of the owner's version");
}

absl::StatusOr<json> Serve(const Desks& desks, std::string_view line) {
  const absl::StatusOr<json> request = ParseDocument(line);
  if (!request.ok()) return request.status();
  std::int64_t version = 0;
  if (!DecodeMember(*request, kVersionName, version)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the request has no member \"", kVersionName, "\""));
  }
  if (version != kVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the owner of the store speaks version ", kVersion, " of the operators' protocol, not ",
        version, "; use the `once` command of the owner's version, or stop the owner"));
  }
  const auto call = request->find(kCallName);
  if (call == request->end() || !call->is_string()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the request has no member \"", kCallName, "\""));
  }
  const auto argument = request->find(kArgumentName);
  return Call(desks, call->get_ref<const std::string&>(),
              argument == request->end() ? json() : *argument);
}

}  // namespace

std::string AnswerError(const absl::Status& error) {
  json answer = Outer();
  answer[kErrorName] = Encode(error);
  return PrintDocument(answer);
}

std::string AnswerRequest(const Desks& desks, std::string_view line) {
  absl::StatusOr<json> result = Serve(desks, line);
  if (!result.ok()) return AnswerError(result.status());
  json answer = Outer();
  answer[kResultName] = *std::move(result);
  std::string text = PrintDocument(answer);
  if (text.size() <= kOperatorLineBytesMax) return text;
  return AnswerError(absl::ResourceExhaustedError(
      absl::StrCat("the answer has ", text.size(), " bytes, and ", kOperatorLineBytesMax,
                   " is the limit; stop the owner and run the command on the closed store")));
}

}  // namespace once::operators
