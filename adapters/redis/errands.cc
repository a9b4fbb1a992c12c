// Trips to the servers, and what their answers mean for the next one.
#include "adapters/redis/errands.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "adapters/redis/connection.h"
#include "adapters/redis/errors.h"
#include "adapters/redis/slots.h"

namespace once::redis {
namespace {

constexpr std::chrono::milliseconds kFirstPause(20);
constexpr std::chrono::milliseconds kLongestPause(500);
// So many redirections are followed at once; more of them mean that nodes disagree.
constexpr int kFreeTrips = 3;

// What one server is told on one trip.
struct Leg {
  Server::Borrowed borrowed = {};
  std::vector<std::string_view> commands = {};
  // Of each command; null: it prepares the next one. The same one twice: the second is its `next`.
  std::vector<Errand*> errands = {};
  Reply trouble = {};  // the last error of such a one
};

// In the order in which connections are taken, always the same: nobody waits in a circle.
using Legs = std::map<Server*, Leg, std::less<>>;

struct Trip {
  Masters& masters;
  std::span<Errand> errands;
  const Load& load;
  const Deadline deadline;
  std::shared_ptr<const Masters::Map> map = {};
  std::optional<ServerAddress> hint = {};  // of a node that knows a newer map
  bool is_misled = false;                  // the map is old, or there is no owner
};

absl::Status NoOwner(int slot) {
  return absl::UnavailableError(absl::StrCat(
      "redis: no master of the cluster serves slot ", slot,
      "; start the one that did, promote its replica, or give the slot to another (redis-cli "
      "--cluster fix)"));
}

const std::string& AskingCommand() {
  static const auto* const command = new std::string(Encode({"ASKING"}));
  return *command;
}

// `load_script`: the command that does so.
absl::StatusOr<Legs> Plan(const Trip& trip, std::string_view load_script) {
  Legs legs;
  for (Errand& errand : trip.errands) {
    if (errand.is_done) continue;
    Server* const owner = trip.map->owners[static_cast<std::size_t>(errand.slot)];
    Server* const server = errand.asked_once != nullptr ? errand.asked_once : owner;
    if (server == nullptr) return NoOwner(errand.slot);
    Leg& leg = legs[server];
    const auto add = [&leg](std::string_view command, Errand* of) {
      leg.commands.push_back(command);
      leg.errands.push_back(of);
    };
    if (errand.needs_script && (leg.commands.empty() || leg.commands.front() != load_script)) {
      leg.commands.insert(leg.commands.begin(), load_script);
      leg.errands.insert(leg.errands.begin(), nullptr);
    }
    if (errand.asked_once != nullptr) add(AskingCommand(), nullptr);
    add(errand.bytes, &errand);
    if (!errand.next.empty()) add(errand.next, &errand);
  }
  return legs;
}

// Nothing is said to anybody unless everybody can be reached.
absl::Status Borrow(Legs& legs, const Trip& trip) {
  absl::Status borrowed;
  for (auto& [server, leg] : legs) {
    absl::StatusOr<Server::Borrowed> connection = server->Borrow(trip.deadline);
    borrowed = connection.status();
    if (!borrowed.ok()) break;
    leg.borrowed = *std::move(connection);
  }
  if (borrowed.ok()) return borrowed;
  for (auto& [server, leg] : legs) {
    if (leg.borrowed.connection != nullptr) server->GiveBack(std::move(leg.borrowed));
  }
  return borrowed;
}

// What a reply means for its errand. Errors are left in it: they are what is said in the end when
// nothing better comes.
void Settle(Trip& trip, Server& server, const Leg& leg, Errand& errand) {
  errand.is_done = true;
  errand.answered_by = &server;
  errand.generation = leg.borrowed.generation;
  if (!errand.reply.is_error()) return;
  const std::string_view word = ErrorWord(errand.reply.text);
  if (word == "NOSCRIPT" && trip.load.script != nullptr) {
    const bool was_loaded = errand.needs_script;
    if (was_loaded && leg.trouble.is_error()) errand.reply = leg.trouble;
    errand.is_done = was_loaded;
    errand.needs_script = true;
    return;
  }
  if (!trip.masters.access().is_cluster) return;
  const auto redirection = ParseRedirection(errand.reply.text);
  // An id that was forgotten while its slot moved; no script of ours says so after a write.
  const bool is_gone = errand.reply.text.starts_with("ERR Script attempted to access a non local");
  const bool is_passing = is_gone || word == "TRYAGAIN" || word == "CLUSTERDOWN";
  if (!redirection && !is_passing) return;
  if (errand.asked_once != nullptr && leg.trouble.is_error()) {
    errand.reply = leg.trouble;
    return;
  }
  errand.is_done = false;
  errand.asked_once = nullptr;
  if (redirection && redirection->is_for_once) {
    errand.asked_once = trip.masters.At(redirection->to, server);
    return;
  }
  if (!redirection && word != "CLUSTERDOWN") return;
  trip.is_misled = true;
  if (!redirection) return;
  if (const Server* const to = trip.masters.At(redirection->to, server); to != nullptr) {
    trip.hint = to->address();
  }
}

absl::Status Record(Trip& trip, Server& server, Leg& leg, std::vector<Reply>& replies) {
  if (leg.borrowed.generation != server.watch().generation()) {
    return absl::UnknownError("redis: the server was replaced while it answered");
  }
  for (std::size_t i = 0; i < replies.size(); ++i) {
    Errand* const errand = leg.errands[i];
    if (errand == nullptr) {
      if (replies[i].is_error()) leg.trouble = std::move(replies[i]);
      continue;
    }
    if (i > 0 && leg.errands[i - 1] == errand) {
      // Of one that goes on elsewhere it is said there again.
      errand->next_reply = std::move(replies[i]);
      continue;
    }
    errand->reply = std::move(replies[i]);
    Settle(trip, server, leg, *errand);
  }
  return absl::OkStatus();
}

// Once to everybody whom the errands that are left concern. kUnavailable: some of them were not
// heard; they are not done and may be carried again.
absl::Status Travel(Trip& trip) {
  trip.hint.reset();
  trip.is_misled = false;
  const std::string load_script =
      trip.load.script == nullptr ? "" : Encode({"SCRIPT", "LOAD", trip.load.script->text});
  absl::StatusOr<Legs> legs = Plan(trip, load_script);
  if (!legs.ok()) return legs.status();
  if (absl::Status borrowed = Borrow(*legs, trip); !borrowed.ok()) return borrowed;
  std::vector<Pipeline> pipelines;
  for (auto& [server, leg] : *legs) {
    if (trip.load.are_words) server->watch().NoteWord();
    pipelines.push_back({.connection = leg.borrowed.connection.get(), .commands = leg.commands});
  }
  Connection::RunTogether(pipelines, trip.deadline);
  absl::Status worst;
  auto pipeline = pipelines.begin();
  for (auto& [server, leg] : *legs) {
    absl::Status status = pipeline->status;
    if (status.ok()) status = Record(trip, *server, leg, pipeline->replies);
    if (worst.ok() || absl::IsUnknown(status)) worst = status;
    server->GiveBack(std::move(leg.borrowed));
    ++pipeline;
  }
  return worst;
}

bool IsAllDone(std::span<const Errand> errands) {
  return std::all_of(errands.begin(), errands.end(),
                     [](const Errand& errand) { return errand.is_done; });
}

bool IsAnyDone(std::span<const Errand> errands) {
  return std::any_of(errands.begin(), errands.end(),
                     [](const Errand& errand) { return errand.is_done; });
}

}  // namespace

absl::Status Carry(Masters& masters, std::span<Errand> errands, const Load& load) {
  Trip trip{.masters = masters,
            .errands = errands,
            .load = load,
            .deadline = masters.access().CallDeadline()};
  const bool is_cluster = masters.access().is_cluster;
  auto pause = kFirstPause;
  for (int trips = 1;; ++trips) {
    trip.map = masters.map();
    const absl::Status gone = Travel(trip);
    if (gone.ok() && IsAllDone(errands)) return gone;
    const bool is_lost = !gone.ok() && !(is_cluster && absl::IsUnavailable(gone));
    const bool is_late = std::chrono::steady_clock::now() + pause >= trip.deadline;
    if (is_lost || is_late) {
      const bool is_half_done = !gone.ok() && IsAnyDone(errands);
      return is_half_done ? absl::UnknownError(gone.message()) : gone;
    }
    if (!gone.ok() || trip.is_misled) {
      // Without a newer map the next trip says what is wrong.
      masters.Refresh(trip.map->number, trip.hint, trip.deadline).IgnoreError();
    }
    if (gone.ok() && trips <= kFreeTrips) continue;
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, kLongestPause);
  }
}

}  // namespace once::redis
