// Scripts over a few connections.
#include "adapters/redis/server.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "adapters/redis/errors.h"
#include "once/abseil.h"

namespace once::redis {
namespace {

constexpr std::chrono::milliseconds kFirstPause(20);
constexpr std::chrono::milliseconds kLongestPause(500);
// A witness that nobody has moved for so long belongs to no running process.
constexpr std::string_view kWitnessMilliseconds = "2592000000";  // thirty days

std::uint64_t DrawIncarnation() {
  std::random_device random;
  std::uint64_t drawn = 0;
  while (drawn == 0) drawn = (static_cast<std::uint64_t>(random()) << 32) | random();
  return drawn;
}

std::string Encode(std::initializer_list<std::string_view> words) {
  return EncodeCommand(std::span(words.begin(), words.size()));
}

std::string EncodeRun(const Script& script, const ScriptCall& call) {
  std::vector<std::string_view> words = {"EVALSHA", script.sha1, "1", call.key};
  words.insert(words.end(), call.arguments.begin(), call.arguments.end());
  return EncodeCommand(words);
}

// The second of a CONFIG GET's two; empty where there is no such setting.
std::string_view SettingOf(const Reply& reply) {
  return reply.elements.size() == 2 ? std::string_view(reply.elements[1].text) : "";
}

// Of the replies behind INFO: the witness, and the settings.
absl::Status CheckReadable(std::span<const Reply> replies) {
  if (replies[1].is_error()) return ErrorStatus(replies[1].text, /*is_opening=*/true);
  for (const Reply& setting : replies.subspan(2)) {
    if (!setting.is_error()) continue;
    return absl::Status(
        ErrorStatus(setting.text, /*is_opening=*/true).code(),
        absl::StrCat("redis: CONFIG GET appendfsync is refused (", setting.text,
                     "); allow it, or say in StoreOptions::appendfsync what the server has"));
  }
  return absl::OkStatus();
}

// What a pipeline of scripts means as one call: errors of all of them are the call's; of some, the
// call is half applied, which only a repetition mends. Foreign keys are mended by nobody.
absl::Status JudgeReplies(const std::vector<Reply>& replies) {
  std::size_t errors = 0;
  absl::Status first;
  for (const Reply& reply : replies) {
    if (!reply.is_error()) continue;
    if (errors++ == 0) first = ErrorStatus(reply.text, /*is_opening=*/false);
  }
  const bool is_half_applied = errors > 0 && errors < replies.size();
  const bool is_mendable = is_half_applied && !absl::IsDataLoss(first);
  return is_mendable ? absl::UnknownError(first.message()) : first;
}

}  // namespace

Server::Server(const StoreOptions& options, ServerAddress address)
    : options_(options),
      address_(std::move(address)),
      keys_(options.key_prefix),
      incarnation_(DrawIncarnation()) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Open(const StoreOptions& options,
                                                     ServerAddress address) {
  std::unique_ptr<Server> server(new Server(options, std::move(address)));
  if (server->address_.is_tls) {
    auto tls = TlsContext::Create({.ca_file = options.tls_ca_file,
                                   .certificate_file = options.tls_certificate_file,
                                   .key_file = options.tls_key_file,
                                   .is_verified = options.is_tls_verified});
    if (!tls.ok()) return tls.status();
    server->tls_ = *std::move(tls);
  }
  if (absl::Status started = server->Start(); !started.ok()) return started;
  return server;
}

absl::Status Server::Start() {
  const Deadline deadline = CallDeadline();
  auto connection = Connect(deadline);
  if (!connection.ok()) return connection.status();
  std::uint64_t witness = 0;
  const absl::StatusOr<ServerFacts> facts = ReadFacts(**connection, deadline, witness);
  if (!facts.ok()) return facts.status();
  absl::Status policy = CheckPolicy(*facts, options_.accept_eviction);
  if (!policy.ok()) return policy;
  watch_.Begin(*facts);
  {
    const std::lock_guard lock(mutex_);
    ++connections_;
    last_inspection_ = std::chrono::steady_clock::now();
  }
  GiveBack({.connection = *std::move(connection), .generation = watch_.generation()});
  return EnterStore();
}

absl::Status Server::EnterStore() {
  std::random_device random;
  std::string id;
  for (int i = 0; i < 4; ++i) absl::StrAppend(&id, absl::Hex(random(), absl::kZeroPad8));
  const ScriptCall call{.key = keys_.OfStore(), .arguments = {id, options_.must_exist ? "1" : "0"}};
  const auto replies = Run(ScriptName::kOpen, {&call, 1});
  if (!replies.ok()) return replies.status();
  const std::vector<Reply>& told = replies->front().elements;
  std::uint64_t opened = 0;
  if (told.size() != 3 || !absl::SimpleAtoi(told[1].text, &opened)) {
    return absl::InternalError("redis: the opening was answered by something else");
  }
  if (told[2].text != "1") {
    return absl::FailedPreconditionError(
        absl::StrCat("redis: the store at ", address_.Describe(), " under \"", options_.key_prefix,
                     "\" has format ", told[2].text, ", this version knows 1; use a newer one"));
  }
  if (told[0].text.empty()) {
    return absl::NotFoundError(absl::StrCat(
        "redis: no store at ", address_.Describe(), " under \"", options_.key_prefix,
        "\"; it was lost or is elsewhere, or open it without must_exist to begin a new one"));
  }
  watch_.NameStore(told[0].text, opened);
  return absl::OkStatus();
}

Deadline Server::CallDeadline() const {
  return std::chrono::steady_clock::now() + absl::ToChronoMicroseconds(options_.call_timeout);
}

// ---- Connections ----

absl::StatusOr<std::unique_ptr<Connection>> Server::Connect(Deadline deadline) {
  auto pause = kFirstPause;
  while (true) {
    auto connection = Connection::Open(address_, tls_.get(), deadline);
    if (connection.ok() || !absl::IsUnavailable(connection.status())) return connection;
    if (std::chrono::steady_clock::now() + pause >= deadline) return connection;
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, kLongestPause);
  }
}

absl::StatusOr<ServerFacts> Server::ReadFacts(Connection& connection, Deadline deadline,
                                              std::uint64_t& witness) const {
  std::vector<std::string> commands = {
      Encode({"INFO"}),
      Encode({"GETEX", keys_.OfWitness(incarnation_), "PX", kWitnessMilliseconds})};
  if (!options_.appendfsync) {
    commands.push_back(Encode({"CONFIG", "GET", "appendfsync"}));
    commands.push_back(Encode({"CONFIG", "GET", "no-appendfsync-on-rewrite"}));
  }
  const auto replies = connection.Run(commands, deadline);
  if (!replies.ok()) return absl::UnavailableError(replies.status().message());
  const Reply& info = replies->front();
  if (info.is_error()) return ErrorStatus(info.text, /*is_opening=*/true);
  absl::StatusOr<ServerFacts> facts = ParseInfo(info.text);
  if (!facts.ok()) return facts.status();
  // First: of a server that does not serve the rest means nothing.
  if (absl::Status serves = CheckServes(*facts); !serves.ok()) return serves;
  if (absl::Status readable = CheckReadable(*replies); !readable.ok()) return readable;
  if (!absl::SimpleAtoi((*replies)[1].text, &witness)) witness = 0;
  if (options_.appendfsync) {
    facts->appendfsync = *options_.appendfsync;
    return facts;
  }
  const auto appendfsync = ParseAppendFsync(SettingOf((*replies)[2]));
  if (!appendfsync.ok()) return appendfsync.status();
  facts->appendfsync = *appendfsync;
  facts->skips_sync_on_rewrite = SettingOf((*replies)[3]) == "yes";
  return facts;
}

absl::Status Server::Inspect(Connection& connection, Deadline deadline) {
  const ServerWatch::Expected expected = watch_.BeginLook();
  std::uint64_t witness = 0;
  const absl::StatusOr<ServerFacts> facts = ReadFacts(connection, deadline, witness);
  if (!facts.ok()) return facts.status();
  watch_.Observe(*facts, witness, expected);
  const std::lock_guard lock(mutex_);
  last_inspection_ = std::chrono::steady_clock::now();
  return absl::OkStatus();
}

bool Server::IsInspectionDue() const {
  const std::lock_guard lock(mutex_);
  return std::chrono::steady_clock::now() - last_inspection_ >=
         absl::ToChronoMicroseconds(options_.inspection_interval);
}

absl::StatusOr<Server::Borrowed> Server::TakeIdle(Deadline deadline) {
  std::unique_lock lock(mutex_);
  while (true) {
    while (!idle_.empty()) {
      Borrowed borrowed = std::move(idle_.back());
      idle_.pop_back();
      const bool is_current = borrowed.generation == watch_.generation();
      if (is_current && borrowed.connection->IsUsable()) return borrowed;
      --connections_;
    }
    if (connections_ < options_.connections_max) {
      ++connections_;
      return Borrowed{};
    }
    if (changed_.wait_until(lock, deadline) == std::cv_status::timeout) {
      return absl::UnavailableError(
          absl::StrCat("redis: ", options_.connections_max,
                       " calls are under way and none has ended in time; raise connections_max"));
    }
  }
}

absl::StatusOr<Server::Borrowed> Server::Borrow(Deadline deadline) {
  absl::StatusOr<Borrowed> borrowed = TakeIdle(deadline);
  if (!borrowed.ok()) return borrowed.status();
  absl::Status usable;
  const bool is_new = borrowed->connection == nullptr;
  if (is_new) {
    auto connection = Connect(deadline);
    usable = connection.status();
    if (usable.ok()) borrowed->connection = *std::move(connection);
  }
  if (usable.ok() && (is_new || IsInspectionDue())) {
    usable = Inspect(*borrowed->connection, deadline);
    borrowed->generation = watch_.generation();
  }
  if (usable.ok()) return borrowed;
  borrowed->connection.reset();
  GiveBack(*std::move(borrowed));
  // A login that is refused now was good when the store was opened.
  const bool is_passing = usable.code() == absl::StatusCode::kPermissionDenied;
  return is_passing ? absl::UnavailableError(usable.message()) : usable;
}

void Server::GiveBack(Borrowed borrowed) {
  const std::lock_guard lock(mutex_);
  if (borrowed.connection != nullptr && borrowed.connection->IsUsable()) {
    idle_.push_back(std::move(borrowed));
  } else {
    --connections_;
  }
  changed_.notify_one();
}

// ---- Scripts ----

absl::StatusOr<std::vector<Reply>> Server::RunOn(Connection& connection, ScriptName name,
                                                 std::span<const ScriptCall> calls,
                                                 Deadline deadline) {
  const Script& script = ScriptOf(name);
  std::vector<std::string> commands;
  commands.reserve(calls.size());
  for (const ScriptCall& call : calls) commands.push_back(EncodeRun(script, call));
  auto replies = connection.Run(commands, deadline);
  if (!replies.ok()) return replies;
  std::vector<std::size_t> unrun;
  std::vector<std::string> again = {Encode({"SCRIPT", "LOAD", script.text})};
  for (std::size_t i = 0; i < replies->size(); ++i) {
    const Reply& reply = (*replies)[i];
    if (!reply.is_error() || ErrorWord(reply.text) != "NOSCRIPT") continue;
    unrun.push_back(i);
    again.push_back(commands[i]);
  }
  if (unrun.empty()) return replies;
  auto later = connection.Run(again, deadline);
  if (!later.ok()) {
    const bool is_unheard = unrun.size() == calls.size();
    return is_unheard ? later.status() : absl::UnknownError(later.status().message());
  }
  if (later->front().is_error()) return ErrorStatus(later->front().text, /*is_opening=*/false);
  for (std::size_t i = 0; i < unrun.size(); ++i) {
    (*replies)[unrun[i]] = std::move((*later)[i + 1]);
  }
  return replies;
}

absl::StatusOr<std::vector<Reply>> Server::Run(ScriptName script,
                                               std::span<const ScriptCall> calls) {
  const Deadline deadline = CallDeadline();
  absl::StatusOr<Borrowed> borrowed = Borrow(deadline);
  if (!borrowed.ok()) return borrowed.status();
  const std::uint64_t generation = borrowed->generation;
  auto replies = RunOn(*borrowed->connection, script, calls, deadline);
  GiveBack(*std::move(borrowed));
  if (!replies.ok()) return replies;
  if (absl::Status judged = JudgeReplies(*replies); !judged.ok()) return judged;
  if (generation != watch_.generation()) {
    return absl::UnknownError("redis: the server was replaced while it answered");
  }
  return replies;
}

absl::StatusOr<std::vector<Reply>> Server::AskEach(std::span<const std::string> commands) {
  const Deadline deadline = CallDeadline();
  absl::StatusOr<Borrowed> borrowed = Borrow(deadline);
  if (!borrowed.ok()) return borrowed.status();
  auto replies = borrowed->connection->Run(commands, deadline);
  GiveBack(*std::move(borrowed));
  return replies;
}

absl::StatusOr<Reply> Server::Ask(std::initializer_list<std::string_view> command) {
  const std::string bytes = Encode(command);
  auto replies = AskEach({&bytes, 1});
  if (!replies.ok()) return replies.status();
  return std::move(replies->front());
}

absl::Status Server::Sync() {
  const std::lock_guard lock(sync_mutex_);
  const ServerWatch::SyncStep step = watch_.BeginSync();
  const ScriptCall call{.key = keys_.OfWitness(incarnation_),
                        .arguments = {absl::StrCat(step.known), absl::StrCat(step.next),
                                      std::string(kWitnessMilliseconds)}};
  const auto replies = Run(ScriptName::kWitness, {&call, 1});
  if (!replies.ok()) return Annotate(replies.status(), "sync");
  return watch_.EndSync(step, replies->front().integer == kLost);
}

}  // namespace once::redis
