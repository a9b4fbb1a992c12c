// A process that is really killed: between two commits, inside a transaction, and right after a
// commit. What was acknowledged is there, and no id without its effect.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "adapters/sqlite/tests/store_scene.h"

namespace once::sqlite {
namespace {

using ::testing::ElementsAre;

class SqliteKill : public StoreScene {
 protected:
  // Runs `body` in a child, with the store open, and kills it after it has told `lines` lines.
  // The lines.
  template <typename Body>
  std::vector<std::string> RunAndKill(std::size_t lines, Body body) {
    store_.reset();
    int pipe_ends[2];
    if (::pipe(pipe_ends) != 0) return {};
    const pid_t child = ::fork();
    if (child == 0) {
      const auto tell = [&](const std::string& line) {
        if (::write(pipe_ends[1], (line + "\n").data(), line.size() + 1) < 0) ::_exit(2);
      };
      if (!Open(OptionsFor(path())).ok()) ::_exit(1);
      body(tell);
      for (;;) ::pause();
    }
    ::close(pipe_ends[1]);
    std::vector<std::string> told(1);
    for (char byte = 0; told.size() <= lines && ::read(pipe_ends[0], &byte, 1) == 1;) {
      if (byte == '\n') {
        told.emplace_back();
      } else {
        told.back().push_back(byte);
      }
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    // What it told before it died counts as well.
    for (char byte = 0; ::read(pipe_ends[0], &byte, 1) == 1;) {
      if (byte == '\n') {
        told.emplace_back();
      } else {
        told.back().push_back(byte);
      }
    }
    ::close(pipe_ends[0]);
    told.pop_back();  // what came after the last newline
    return told;
  }

  std::vector<std::string> Ids() {
    return OwnConnection(path()).Run("SELECT CAST(id AS TEXT) FROM once_ids ORDER BY 1").rows;
  }
  std::vector<std::string> SortedEffects() {
    return OwnConnection(path()).Run("SELECT row FROM effects ORDER BY 1").rows;
  }
};

TEST_F(SqliteKill, InsideATransactionLeavesNothingOfIt) {
  RunAndKill(1, [&](const auto& tell) {
    if (!Apply("committed").ok()) return;
    const auto transaction = Begin();
    if (AddEffect(*transaction, "open").ok() && Complete(*transaction, "open").ok()) tell("ready");
    for (;;) ::pause();
  });
  MustOpen();
  EXPECT_THAT(Ids(), ElementsAre("committed"));
  EXPECT_THAT(SortedEffects(), ElementsAre("committed"));
}

TEST_F(SqliteKill, RightAfterACommitLosesNothing) {
  RunAndKill(1, [&](const auto& tell) {
    if (Apply("committed").ok()) tell("committed");
  });
  MustOpen();
  EXPECT_THAT(Ids(), ElementsAre("committed"));
  EXPECT_THAT(SortedEffects(), ElementsAre("committed"));
}

TEST_F(SqliteKill, AtAnyMomentKeepsIdsAndEffectsTogether) {
  std::vector<std::string> acknowledged;
  for (const std::size_t lines : {1, 2, 3, 7, 20, 40}) {
    const std::vector<std::string> told = RunAndKill(lines, [&](const auto& tell) {
      for (int i = 0;; ++i) {
        const std::string id = absl::StrCat("round-", lines, "-", i);
        if (!Apply(id).ok()) return;
        tell(id);
      }
    });
    EXPECT_GE(told.size(), lines);
    acknowledged.insert(acknowledged.end(), told.begin(), told.end());
    MustOpen();
    EXPECT_EQ(Ids(), SortedEffects());
    for (const std::string& id : acknowledged) EXPECT_TRUE(IsCompleted(id)) << id;
  }
}

}  // namespace
}  // namespace once::sqlite
