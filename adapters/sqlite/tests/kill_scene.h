// What tests of processes that are really killed share.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "adapters/sqlite/tests/store_scene.h"

namespace once::sqlite {

class KillScene : public StoreScene {
 protected:
  // Runs `body` in a child, with the store open, and kills it after it has told `lines` lines or is
  // at its end. The lines.
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
      ::raise(SIGKILL);  // as well as any other moment, and the parent need not wait
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
};

}  // namespace once::sqlite
